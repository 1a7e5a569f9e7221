/**
 * pruneExecutions: deletes earlier executions of an instance. The first call makes all of them disappear at
 * once; further calls remove their history.
 *
 * Argument: { executions: number[] } none of them the current one
 * Result:   { status: "more" | "pruned", executions, events }
 *           "more"    call again with the same argument; the counts are of what this call made disappear
 *           "pruned"  nothing is left of them
 * Reads:    head; x:<execution>; h:<execution>:<first> by query
 * Writes:   x:<execution>, h:<execution>:<first>, t:<stamp> (deleted)
 * Uses:     store, head
 *
 * @param {{executions: number[]}} argument
 */
async function pruneExecutions(argument) {
  const counts = { executions: 0, events: 0 };
  const head = await readHead();
  if (!head) {
    return Object.assign({ status: "pruned" }, counts);
  }
  const executions = argument.executions.filter((execution) => execution < head.execution);
  const pages = await select(
    "SELECT TOP " + (PruneBatch + 1) +
      " c.id, c._etag, ARRAY(SELECT VALUE e.ref FROM e IN c.events WHERE IS_DEFINED(e.ref)) AS refs FROM c" +
      " WHERE c.type = 'history' AND ARRAY_CONTAINS(@executions, c.execution)",
    [{ name: "@executions", value: executions }],
    (rows) => rows.length > PruneBatch
  );
  for (const execution of executions) {
    const record = await read("x:" + execution);
    if (record && record.status !== "Running") {
      counts.executions += 1;
      counts.events += record.events;
      await dropText(record.output);
      await remove(record);
    }
  }
  for (const page of pages.slice(0, PruneBatch)) {
    await remove(page);
    for (const ref of page.refs) {
      await removeById(ref);
    }
  }
  return Object.assign({ status: pages.length > PruneBatch ? "more" : "pruned" }, counts);
}

/** Pages one call removes. */
const PruneBatch = 90;
