/**
 * pruneExecutions: deletes earlier executions of an instance, so much at a time. The first call names them in the head,
 * by which all of them disappear for readers at once. What is left when the calls end goes with the next prune.
 *
 * Argument: { pruneId, ranges } `ranges` of executions, first and last one, below the current one
 * Result:   { status: "more" | "pruned", executions, events }
 *           "more"    call again with the same argument
 *           "pruned"  nothing is left of them; the counts are of all calls, and of what an earlier prune had left. A
 *                     repeated call gets the same answer until another prune begins
 * Reads:    head; x:<execution>, h:<execution>:<first> by query
 * Writes:   head; x:<execution>, h:<execution>:<first>, t:<stamp> (deleted); h:<execution>:<first> with many long events
 * Uses:     store, head
 *
 * @param {{pruneId: string, ranges: [number, number][]}} argument
 */
async function pruneExecutions(argument) {
  const head = await readHead();
  const pruning = head && openPruning(head, argument);
  if (!head || !pruning) {
    return { status: "pruned", executions: 0, events: 0 };
  }
  if (pruning.ranges.length > 0) {
    head.pruning = pruning;
    let room = PruneBatch;
    while (room > 0 && pruning.ranges.length > 0) {
      room = await pruneRange(pruning, room);
    }
    await saveHead(head);
  }
  const status = pruning.ranges.length > 0 ? "more" : "pruned";
  return { status: status, executions: pruning.executions, events: pruning.events };
}

/** Documents one call removes, long texts included: well within 5 seconds, and within one page of a query. */
const PruneBatch = 90;

/**
 * The prune that this call goes on with. One that somebody left becomes part of it.
 *
 * @param {Head} head
 * @param {{pruneId: string, ranges: [number, number][]}} argument
 * @returns {Pruning | undefined} `undefined`: there is nothing to do
 */
function openPruning(head, argument) {
  const found = head.pruning;
  if (found && found.id === argument.pruneId) {
    return found;
  }
  const left = found ? found.ranges : [];
  const isNew = (/** @type {[number, number]} */ range) =>
    range[1] < head.execution && !left.some((other) => other[0] <= range[0] && range[1] <= other[1]);
  const ranges = left.concat(argument.ranges.filter(isNew));
  if (ranges.length === 0) {
    return undefined;
  }
  const counts = found && left.length > 0 ? found : { executions: 0, events: 0 };
  return { id: argument.pruneId, ranges: ranges, executions: counts.executions, events: counts.events };
}

/**
 * Removes documents of the first range; drops the range when nothing is left.
 *
 * @param {Pruning} pruning
 * @param {number} room how many documents may be removed
 * @returns {Promise<number>} how many more
 */
async function pruneRange(pruning, room) {
  const range = pruning.ranges[0];
  // Descending, so that the record of an execution, which is counted, goes after its history.
  const found = await select(
    "SELECT TOP " + (room + 1) + " c.id, c._etag, c.instanceId, c.type, c.execution, c.first, c.output.ref AS output," +
      " (c.type = 'execution' ? c.events : 0) AS events," +
      " ARRAY(SELECT VALUE e.ref FROM e IN c.events WHERE IS_DEFINED(e.ref)) AS refs FROM c" +
      " WHERE c.type IN ('execution', 'history') AND c.execution >= @first AND c.execution <= @last" +
      " ORDER BY c.type DESC",
    [{ name: "@first", value: range[0] }, { name: "@last", value: range[1] }],
    (rows) => rows.length > room
  );
  for (const document of found) {
    if (room <= 0) {
      return 0;
    }
    room -= document.type === "history" ? await prunePage(document, room) : await pruneRecord(pruning, document);
  }
  if (room > 0) {
    pruning.ranges.shift();
  }
  return room;
}

/**
 * Removes a page with its texts. If these are too many, some of them go now, and the page keeps the others.
 *
 * @param {any} page
 * @param {number} room
 * @returns {Promise<number>} documents removed
 */
async function prunePage(page, room) {
  for (const ref of page.refs.slice(0, room)) {
    await removeById(ref);
  }
  const rest = page.refs.slice(room).map((/** @type {string} */ ref) => ({ ref: ref }));
  if (rest.length === 0) {
    await remove(page);
    return page.refs.length + 1;
  }
  await replace({
    id: page.id,
    _etag: page._etag,
    instanceId: page.instanceId,
    type: page.type,
    execution: page.execution,
    first: page.first,
    events: rest
  });
  return room;
}

/**
 * @param {Pruning} pruning
 * @param {any} record
 * @returns {Promise<number>} documents removed
 */
async function pruneRecord(pruning, record) {
  pruning.executions += 1;
  pruning.events += record.events;
  if (record.output) {
    await removeById(record.output);
  }
  await remove(record);
  return 1;
}
