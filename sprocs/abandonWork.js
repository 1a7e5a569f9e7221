/**
 * abandonWork: gives a locked work item back.
 *
 * Argument: { workId, lockId, delayMs?, ignoreAttempt }
 *           `delayMs` hides the item for so long; without it the item keeps its place in the queue
 * Result:   { status: "abandoned", now, readyAt } | { status: "lostLock" }
 * Reads:    w:<execution>:<activity>
 * Writes:   w:<execution>:<activity>; t:<id> staged under the lock (deleted)
 * Uses:     store, text
 *
 * @param {{workId: string, lockId: string, delayMs?: number, ignoreAttempt: boolean}} argument
 */
async function abandonWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  if (!work || !work.lock || work.lock.id !== argument.lockId) {
    return { status: "lostLock" };
  }
  const place = work.firstReadyAt === undefined ? now : work.firstReadyAt;
  work.workReadyAt = argument.delayMs === undefined ? place : now + argument.delayMs;
  work.attempts = Math.max(0, work.attempts - (argument.ignoreAttempt ? 1 : 0));
  delete work.lock;
  await dropStaged(work);
  await save(work);
  return { status: "abandoned", now: now, readyAt: work.workReadyAt };
}
