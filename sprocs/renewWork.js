/**
 * renewWork: extends the lock of a work item; never shortens it.
 *
 * Argument: { workId, lockId, extendMs }
 * Result:   { status: "renewed", until } | { status: "lostLock" }
 *           "lostLock"  cancelled, expired, taken over, or its instance deleted
 * Reads:    w:<execution>:<activity>; head
 * Writes:   w:<execution>:<activity>
 * Uses:     store, head, work
 *
 * @param {{workId: string, lockId: string, extendMs: number}} argument
 */
async function renewWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  const head = await readHead();
  if (!work || !work.lock || !holdsWork(work, head, argument.lockId, now)) {
    return { status: "lostLock" };
  }
  work.lock.until = Math.max(work.lock.until, now + argument.extendMs);
  work.workReadyAt = work.lock.until;
  await save(work);
  return { status: "renewed", until: work.lock.until };
}
