/**
 * lockWork: locks one work item.
 *
 * Argument: see WorkRequest in types.d.ts
 * Result:   { status: "locked", item, attempts, now, until, head? } | { status: "notReady" }
 *           "locked"    held until `until`; a repeated call gets the same answer
 *           "notReady"  gone, hidden, locked by somebody else, or left of a deleted instance
 * Reads:    w:<execution>:<activity>; head
 * Writes:   w:<execution>:<activity> (deleted if left of a deleted instance); t:<id> staged under a lost lock (deleted)
 * Uses:     store, head, text, work
 *
 * @param {WorkRequest} argument
 */
async function lockWork(argument) {
  const head = await readHead();
  const locked = await tryWork(head, argument, Date.now());
  if (!locked) {
    return { status: "notReady" };
  }
  // The runtime asks for the instance next, whenever it runs an activity.
  return Object.assign({ status: "locked", head: head ? factsOf(head, head._etag) : undefined }, locked);
}
