/**
 * ackWork: removes a locked work item and enqueues its completion, both or neither.
 *
 * Argument: { instanceId, slot, incarnation, workId, lockId, nonce, after, messages: NewMessage[],
 *             outbox: OutboxMessage[], turn?: TurnRequest, next?: WorkRequest }
 *           the completion is in `messages` if it goes to this instance, in `outbox` if to another one;
 *           `turn` and `next` are what dispatchers that wait would take over: the turn that the completion makes
 *           ready, and one more work item of this instance
 * Result:   { status: "acked", now, stamp?, readyAt?, head?, turn?: LockedTurn, next?: { item, attempts, now, until } } |
 *           { status: "repeated", now, stamp, readyAt? } | { status: "lostLock" }
 *           "acked"     the item is gone and its completion queued
 *           "repeated"  an earlier call with the same nonce did it
 *           "lostLock"  cancelled, expired, taken over, or its instance deleted; nothing written by this call
 * Reads:    w:<execution>:<activity>; head; for the turn kv, h:<execution>:<first> by query
 * Writes:   w:<execution>:<activity> (deleted, the next one locked); head; m:<stamp>; o:<lockId>:<n>; t:<id> of the
 *           item, or staged in vain (deleted)
 * Uses:     store, head, text, turn, work, outbox
 *
 * @param {{instanceId: string, slot: number, incarnation: string, workId: string, lockId: string, nonce: string,
 *   after: number, messages: NewMessage[], outbox: OutboxMessage[], turn?: TurnRequest, next?: WorkRequest}} argument
 */
async function ackWork(argument) {
  const now = Date.now();
  /** @type {Work | null} */
  const work = await read(argument.workId);
  const head = await readHead();
  if (!work || !holdsWork(work, head, argument.lockId, now)) {
    return head && wasAnswered(head, argument.nonce)
      ? { status: "repeated", now: now, stamp: head.lastStamp, readyAt: lookAt(head, now) }
      : { status: "lostLock" };
  }
  await remove(/** @type {any} */ (work));
  await dropText(work.item);
  await dropStaged(work, argument.messages.concat(argument.outbox.map((outbox) => outbox.message)));
  await createOutbox(argument.instanceId, argument.lockId, argument.outbox, now);
  const next = argument.next ? await tryWork(head, argument.next, now) : undefined;
  if (argument.messages.length === 0 && !head) {
    return { status: "acked", now: now, next: next };
  }
  const queue = head || newHead(argument.instanceId, argument.slot, argument.incarnation);
  const stored = await enqueue(queue, argument.messages, argument.after, now);
  rememberAnswered(queue, argument.nonce);
  setTurnReadyAt(queue);
  const request = argument.turn && withRoomFor(next, argument.turn);
  const turn = await handTurn(queue, request, stored, now);
  const facts = await saveHead(queue);
  return { status: "acked", now: now, stamp: queue.lastStamp, readyAt: lookAt(queue, now), head: facts, turn: turn, next: next };
}

/**
 * The request for a turn that shares the answer with a work item.
 *
 * @param {object | undefined} next
 * @param {TurnRequest} request
 * @returns {TurnRequest}
 */
function withRoomFor(next, request) {
  return next ? Object.assign({}, request, { answerChars: request.answerChars - answerChars(next) }) : request;
}
