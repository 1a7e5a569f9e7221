/**
 * abandonWork: gives a locked work item back.
 *
 * Argument: { workId, lockId, nonce, delayMs?, ignoreAttempt }
 *           `delayMs` hides the item for so long; without it the item keeps its place in the queue
 * Result:   { status: "abandoned", now, readyAt } | { status: "lostLock" }
 *           "abandoned"  the lock is released, by this call or an earlier one with the same nonce
 *           "lostLock"   somebody else has it, or the item is gone
 * Reads:    w:<execution>:<activity>
 * Writes:   w:<execution>:<activity>; t:<id> staged under the lock (deleted)
 * Uses:     store, text
 *
 * @param {{workId: string, lockId: string, nonce: string, delayMs?: number, ignoreAttempt: boolean}} argument
 */
async function abandonWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  if (!work || !work.lock || work.lock.id !== argument.lockId) {
    return work && work.abandoned === argument.nonce
      ? { status: "abandoned", now: now, readyAt: work.workReadyAt }
      : { status: "lostLock" };
  }
  const place = work.firstReadyAt === undefined ? now : work.firstReadyAt;
  work.workReadyAt = argument.delayMs === undefined ? place : now + argument.delayMs;
  work.attempts = Math.max(0, work.attempts - (argument.ignoreAttempt ? 1 : 0));
  work.abandoned = argument.nonce;
  delete work.lock;
  work.waiting = 1;
  await dropStaged(work);
  await save(work);
  return { status: "abandoned", now: now, readyAt: work.workReadyAt };
}
