/**
 * lockTurn: locks an instance for one turn and returns all the turn needs.
 *
 * Argument: { lockId, lockMs, filter: { min, max } | null, historyChars }
 *           `filter` is a range of pinned versions; an instance pinned outside it is not locked.
 *           `historyChars` bounds the history in the answer; the caller reads the rest itself.
 * Result:   { status: "locked", now, until, instance, messages, attempts, history, kv } |
 *           { status: "notReady" | "incompatible" | "dropped" | "noContext" }
 *           "locked"        the lock is held until `until`; a repeated call gets the same answer
 *           "notReady"      nothing visible, somebody else holds the lock, or the instance is being deleted
 *           "incompatible"  the filter excludes it
 *           "dropped"       only queue messages for an instance that never started: deleted
 *           "noContext"     messages for an instance that has not started: left until its start comes
 * Reads:    head; m:<stamp> and h:<execution>:<first> by query; kv
 * Writes:   head (when "locked", "dropped", "noContext"); m:<stamp> (when "dropped"); t:<id> staged under a lost lock (deleted)
 * Uses:     store, head, text, turn
 *
 * @param {{lockId: string, lockMs: number, filter: {min: number, max: number} | null, historyChars: number}} argument
 */
async function lockTurn(argument) {
  const now = Date.now();
  const head = await readHead();
  if (!head || head.deletion) {
    return { status: "notReady" };
  }
  if (head.lock && head.lock.until > now) {
    if (head.lock.id !== argument.lockId) {
      return { status: "notReady" };
    }
    const again = await lockedMessages(head, head.lock);
    return turnAnswer(head, head.lock, again, argument.historyChars, now);
  }
  const filter = argument.filter;
  if (filter && head.pinned !== undefined && (head.pinned < filter.min || head.pinned > filter.max)) {
    return { status: "incompatible" };
  }
  const batch = await visibleMessages(head, now);
  if (batch.messages.length === 0) {
    return { status: "notReady" };
  }
  if (!hasContext(head, now)) {
    return releaseWithoutContext(head, batch);
  }
  await dropStaged(head);
  const until = now + argument.lockMs;
  takeLock(head, batch, argument.lockId, until);
  const lock = /** @type {TurnLock} */ (head.lock);
  const answer = await turnAnswer(head, lock, batch.messages, argument.historyChars, now);
  await save(head);
  return answer;
}
