/**
 * lockWork: locks one work item.
 *
 * Argument: { workId, lockId, lockMs }
 * Result:   { status: "locked", item, attempts, now, until } | { status: "notReady" }
 *           "locked"    held until `until`; a repeated call gets the same answer
 *           "notReady"  gone, hidden, or locked by somebody else
 * Reads:    w:<execution>:<activity>
 * Writes:   w:<execution>:<activity>; t:<id> staged under a lost lock (deleted)
 * Uses:     store, text, work
 *
 * @param {{workId: string, lockId: string, lockMs: number}} argument
 */
async function lockWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  if (!work) {
    return { status: "notReady" };
  }
  if (!holdsWork(work, argument.lockId, now)) {
    if (work.workReadyAt > now) {
      return { status: "notReady" };
    }
    await dropStaged(work);
    work.attempts += 1;
    work.lock = { id: argument.lockId, until: now + argument.lockMs };
    work.firstReadyAt = work.firstReadyAt === undefined ? work.workReadyAt : work.firstReadyAt;
    work.workReadyAt = work.lock.until;
    await save(work);
  }
  const until = /** @type {{until: number}} */ (work.lock).until;
  return { status: "locked", item: work.item, attempts: work.attempts, now: now, until: until };
}
