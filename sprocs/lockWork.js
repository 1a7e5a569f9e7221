/**
 * lockWork: locks one work item.
 *
 * Argument: see WorkRequest in types.d.ts
 * Result:   { status: "locked", item, attempts, now, until } | { status: "notReady" }
 *           "locked"    held until `until`; a repeated call gets the same answer
 *           "notReady"  gone, hidden, or locked by somebody else
 * Reads:    w:<execution>:<activity>
 * Writes:   w:<execution>:<activity>; t:<id> staged under a lost lock (deleted)
 * Uses:     store, text, work
 *
 * @param {WorkRequest} argument
 */
async function lockWork(argument) {
  const locked = await tryWork(argument, Date.now());
  return locked ? Object.assign({ status: "locked" }, locked) : { status: "notReady" };
}
