/**
 * ackWork: removes a locked work item and enqueues its completion, both or neither.
 *
 * Argument: { instanceId, slot, incarnation, workId, lockId, nonce, after, messages: NewMessage[],
 *             outbox: OutboxMessage[] }
 *           the completion is in `messages` if it goes to this instance, in `outbox` if to another one
 * Result:   { status: "acked" | "repeated", now, stamp?, readyAt? } | { status: "lostLock" }
 *           "acked"     the item is gone and its completion queued
 *           "repeated"  an earlier call with the same nonce did it
 *           "lostLock"  cancelled, expired or taken over; nothing written
 * Reads:    w:<execution>:<activity>; head
 * Writes:   w:<execution>:<activity> (deleted); head; m:<stamp>; o:<lockId>:<n>
 * Uses:     store, head, work, outbox
 *
 * @param {{instanceId: string, slot: number, incarnation: string, workId: string, lockId: string, nonce: string,
 *   after: number, messages: NewMessage[], outbox: OutboxMessage[]}} argument
 */
async function ackWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  const head = await readHead();
  if (!work || !holdsWork(work, argument.lockId, now)) {
    return head && wasApplied(head, argument.nonce)
      ? { status: "repeated", now: now, stamp: head.lastStamp, readyAt: head.turnReadyAt }
      : { status: "lostLock" };
  }
  await remove(/** @type {any} */ (work));
  await dropText(work.item);
  await createOutbox(argument.instanceId, argument.lockId, argument.outbox, now);
  if (argument.messages.length === 0) {
    return { status: "acked", now: now };
  }
  const queue = head || newHead(argument.instanceId, argument.slot, argument.incarnation);
  await enqueue(queue, argument.messages, argument.after, now);
  rememberApplied(queue, argument.nonce);
  setTurnReadyAt(queue);
  await save(queue);
  return { status: "acked", now: now, stamp: queue.lastStamp, readyAt: queue.turnReadyAt };
}
