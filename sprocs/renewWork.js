/**
 * renewWork: extends the lock of a work item; never shortens it.
 *
 * Argument: { workId, lockId, extendMs }
 * Result:   { status: "renewed", until } | { status: "lostLock" }
 *           "lostLock"  cancelled, expired or taken over
 * Reads:    w:<execution>:<activity>
 * Writes:   w:<execution>:<activity>
 * Uses:     store, work
 *
 * @param {{workId: string, lockId: string, extendMs: number}} argument
 */
async function renewWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  if (!work || !work.lock || !holdsWork(work, argument.lockId, now)) {
    return { status: "lostLock" };
  }
  work.lock.until = Math.max(work.lock.until, now + argument.extendMs);
  work.workReadyAt = work.lock.until;
  await save(work);
  return { status: "renewed", until: work.lock.until };
}
