/**
 * enqueueMessages: puts messages into an instance's orchestrator queue.
 *
 * Argument: { instanceId, slot, incarnation, nonce, after, key?, markSeconds?, messages: NewMessage[],
 *             turn?: TurnRequest }
 *           `incarnation` names the head should this be the first document of the instance.
 *           `key` marks a delivery from another partition: it is applied once, however often it comes.
 *           `turn` is what a dispatcher that waits would take over.
 * Result:   { status: "queued", now, stamp, readyAt?, head, turn?: LockedTurn } |
 *           { status: "repeated", now, stamp, readyAt? }
 *           "queued"    the messages are in the queue
 *           "repeated"  an earlier call with the same nonce or key did it
 * Reads:    head; i:<key>; i:<nonce>; for the turn kv, h:<execution>:<first> by query
 * Writes:   head; m:<stamp> for messages that do not fit it; i:<key>; i:<nonce> of a recent call
 * Uses:     store, head, turn
 *
 * @param {{instanceId: string, slot: number, incarnation: string, nonce: string, after: number, key?: string,
 *   markSeconds?: number, messages: NewMessage[], turn?: TurnRequest}} argument
 */
async function enqueueMessages(argument) {
  const now = Date.now();
  const head = (await readHead()) || newHead(argument.instanceId, argument.slot, argument.incarnation);
  if (await wasApplied(head, argument.nonce)) {
    return { status: "repeated", now: now, stamp: head.lastStamp, readyAt: lookAt(head, now) };
  }
  if (argument.key !== undefined) {
    const mark = "i:" + argument.key;
    if (await read(mark)) {
      return { status: "repeated", now: now, stamp: head.lastStamp, readyAt: lookAt(head, now) };
    }
    await create({ id: mark, instanceId: argument.instanceId, type: "inbox", ttl: argument.markSeconds });
  }
  const stored = await enqueue(head, argument.messages, argument.after, now);
  if (argument.key === undefined) {
    await rememberApplied(head, argument.nonce, now);
  }
  setTurnReadyAt(head);
  const turn = await handTurn(head, argument.turn, stored, now);
  const facts = await saveHead(head);
  return { status: "queued", now: now, stamp: head.lastStamp, readyAt: lookAt(head, now), head: facts, turn: turn };
}
