/**
 * renewTurn: extends the lock of a turn; never shortens it.
 *
 * Argument: { lockId, extendMs }
 * Result:   { status: "renewed", until } | { status: "lostLock" }
 * Reads:    head
 * Writes:   head
 * Uses:     store, head
 *
 * @param {{lockId: string, extendMs: number}} argument
 */
async function renewTurn(argument) {
  const now = Date.now();
  const head = await readHead();
  if (!head || !head.lock || !holdsTurn(head, argument.lockId, now)) {
    return { status: "lostLock" };
  }
  head.lock.until = Math.max(head.lock.until, now + argument.extendMs);
  setTurnReadyAt(head);
  await saveHead(head);
  return { status: "renewed", until: head.lock.until };
}
