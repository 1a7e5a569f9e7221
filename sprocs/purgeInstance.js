/**
 * purgeInstance: deletes a marked instance, so much at a time. The first call already makes it disappear;
 * further calls remove what it left. Messages that arrive for the same id after the first call belong to its successor
 * and stay; work does not: nothing of what the deleted instance had scheduled is handed out or completed any more.
 *
 * Argument: { deletionId, incarnation } `incarnation` names the successor
 * Result:   { status: "more" | "purged" | "owes", executions, events, messages }
 *           "more"    call again; the counts are of what this call removed
 *           "purged"  nothing is left
 *           "owes"    messages to others lie in its outbox: deliver them first; nothing written
 * Reads:    head; all other documents of the instance by query, except receiver's marks
 * Writes:   head; the others (deleted)
 * Uses:     store, head
 *
 * @param {{deletionId: string, incarnation: string}} argument
 */
async function purgeInstance(argument) {
  const counts = { executions: 0, events: 0, messages: 0 };
  const head = await readHead();
  if (!head || !head.deletion || head.deletion.id !== argument.deletionId) {
    return Object.assign({ status: "purged" }, counts);
  }
  const owed = await select("SELECT TOP 1 c.id FROM c WHERE c.type = 'outbox'", [], () => true);
  if (owed.length > 0) {
    return Object.assign({ status: "owes" }, counts);
  }
  if (head.deletion.before === undefined) {
    stripHead(head, argument.incarnation, counts, Date.now());
  }
  const before = head.deletion && head.deletion.before;
  // Descending, so that work comes first, which others still look for.
  const left = await select(
    "SELECT TOP " + (PurgeBatch + 1) + " c.id, c._etag, c.type," +
      " (c.type = 'execution' ? c.events : 0) AS events FROM c" +
      " WHERE c.type IN ('execution', 'history', 'work', 'kv')" +
      " OR (c.type IN ('message', 'text') AND c.stamp <= @before) ORDER BY c.type DESC",
    [{ name: "@before", value: before }],
    (rows) => rows.length >= PurgeBatch
  );
  for (const document of left.slice(0, PurgeBatch)) {
    await remove(document);
    countRemoved(counts, document);
  }
  if (left.length > PurgeBatch) {
    await saveHead(head);
    return Object.assign({ status: "more" }, counts);
  }
  await leaveToSuccessor(head);
  return Object.assign({ status: "purged" }, counts);
}

/** Documents one call removes: well within 5 seconds, and within one page of a query. */
const PurgeBatch = 90;

/**
 * Takes from the head all that made it this instance.
 *
 * @param {Head} head
 * @param {string} incarnation
 * @param {{executions: number, events: number, messages: number}} counts
 * @param {number} now
 */
function stripHead(head, incarnation, counts, now) {
  counts.executions += head.execution > 0 ? 1 : 0;
  counts.events += head.events;
  counts.messages += head.inbox.length;
  const before = Math.max(head.lastStamp, now * StampsPerMs);
  const deletion = { id: /** @type {{id: string}} */ (head.deletion).id, before: before };
  const fresh = newHead(head.instanceId, head.slot, incarnation);
  fresh.lastStamp = before;
  fresh.deletion = deletion;
  fresh.applied = head.applied;
  for (const name of Object.keys(head)) {
    if (name.charAt(0) !== "_") {
      delete (/** @type {any} */ (head)[name]);
    }
  }
  Object.assign(head, fresh);
}

/**
 * @param {{executions: number, events: number, messages: number}} counts
 * @param {{type: string, events?: any}} document
 */
function countRemoved(counts, document) {
  if (document.type === "execution") {
    counts.executions += 1;
    counts.events += document.events;
  } else if (document.type === "message" || document.type === "work") {
    counts.messages += 1;
  }
}

/**
 * Ends the deletion: the head goes too, unless messages for a successor have arrived.
 *
 * @param {Head} head
 */
async function leaveToSuccessor(head) {
  delete head.deletion;
  if (head.inbox.length === 0 && head.backlog.count === 0) {
    await remove(/** @type {any} */ (head));
    return;
  }
  setTurnReadyAt(head);
  await saveHead(head);
}
