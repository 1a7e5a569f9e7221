/**
 * abandonTurn: gives a locked turn back.
 *
 * Argument: { lockId, nonce, delayMs?, ignoreAttempt }
 *           `delayMs` hides the locked messages for so long; without it they keep their place in the queue.
 * Result:   { status: "abandoned", now, readyAt? } | { status: "lostLock" }
 *           "abandoned"  the lock is released, by this call or an earlier one with the same nonce
 *           "lostLock"   somebody else has it, or nobody
 * Reads:    head; m:<stamp> of the locked messages when delayed
 * Writes:   head; m:<stamp> of the locked messages when delayed; t:<id> staged under the lock (deleted)
 * Uses:     store, head, text
 *
 * @param {{lockId: string, nonce: string, delayMs?: number, ignoreAttempt: boolean}} argument
 */
async function abandonTurn(argument) {
  const now = Date.now();
  const head = await readHead();
  if (!head || !head.lock || head.lock.id !== argument.lockId) {
    return head && wasAnswered(head, argument.nonce)
      ? { status: "abandoned", now: now, readyAt: head.turnReadyAt }
      : { status: "lostLock" };
  }
  const lock = head.lock;
  const visibleAt = argument.delayMs === undefined ? undefined : now + argument.delayMs;
  const given = argument.ignoreAttempt ? 1 : 0;
  for (const message of head.inbox) {
    if (lock.inline.indexOf(message.stamp) >= 0) {
      message.attempts = Math.max(0, message.attempts - given);
      hideMessage(head, message, visibleAt);
    }
  }
  for (const stamp of lock.backlog) {
    head.backlog.attempts[stamp] = Math.max(0, head.backlog.attempts[stamp] - given);
    if (visibleAt !== undefined) {
      const message = await read("m:" + stamp);
      hideMessage(head, message, visibleAt);
      await replace(message);
    }
  }
  if (lock.backlog.length > 0) {
    // A message is never visible before its stamp, so the first stamp is its place in the queue.
    const at = visibleAt === undefined ? timeOf(lock.backlog[0]) : visibleAt;
    head.backlog.readyAt = head.backlog.readyAt === undefined ? at : Math.min(head.backlog.readyAt, at);
  }
  delete head.lock;
  await dropStaged(head);
  rememberAnswered(head, argument.nonce);
  setTurnReadyAt(head);
  await saveHead(head);
  return { status: "abandoned", now: now, readyAt: head.turnReadyAt };
}

/**
 * @param {Head} head
 * @param {{kind: MessageKind, visibleAt: number}} message
 * @param {number | undefined} visibleAt `undefined`: it stays as visible as it was
 */
function hideMessage(head, message, visibleAt) {
  if (visibleAt === undefined) {
    return;
  }
  message.visibleAt = visibleAt;
  if (message.kind === "start") {
    head.startAt = visibleAt;
  }
}
