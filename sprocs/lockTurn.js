/**
 * lockTurn: locks an instance for one turn and returns all the turn needs.
 *
 * Argument: see TurnRequest in types.d.ts
 * Result:   LockedTurn and { head } |
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
 * @param {TurnRequest} argument
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
    return withFacts(await turnAnswer(head, head.lock, again, argument, now), head);
  }
  if (isIncompatible(head, argument)) {
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
  const answer = await turnAnswer(head, lock, batch.messages, argument, now);
  return withFacts(answer, head);
}

/**
 * @param {LockedTurn} answer
 * @param {Head} head
 */
async function withFacts(answer, head) {
  return Object.assign(answer, { head: await saveHead(head) });
}
