/**
 * ackTurn: commits a turn and releases its lock, all or nothing.
 *
 * Argument: see AckTurn in types.d.ts
 * Result:   { status: "acked", now, stamp, readyAt?, head, previous, handed, turn? } | { status: "repeated", now, stamp, readyAt? } |
 *           { status: "lostLock" } | { status: "duplicateEvent", lastEvent }
 *           "acked"           committed; `previous` is the last event before these, `handed` are the ids of the activities that were to be locked at once,
 *                             `turn` the next turn (LockedTurn) if one was asked for and is ready
 *           "repeated"        an earlier call with the same nonce committed it
 *           "lostLock"        the lock is not held (any more); nothing written
 *           "duplicateEvent"  the events do not follow `lastEvent`; nothing written, the lock still held
 * Reads:    head; x:<execution> for an earlier execution; kv; w: and m: documents it deletes; h:<execution>:<first> if
 *           the lock is gone
 * Writes:   head; h:<execution>:<first>; w:<execution>:<activity>; o:<lockId>:<n>; m:<stamp>; x:<execution>; kv;
 *           t:<stamp>; t:<id> of messages, of batches that were staged, or of an earlier commit that did not come (deleted)
 * Uses:     store, head, turn, text, execution, kv, work, outbox
 *
 * @param {AckTurn} argument
 */
async function ackTurn(argument) {
  const now = Date.now();
  const head = await readHead();
  if (!head || !holdsTurn(head, argument.lockId, now)) {
    return head && (await wasCommitted(head, argument))
      ? { status: "repeated", now: now, stamp: head.lastStamp, readyAt: lookAt(head, now) }
      : { status: "lostLock" };
  }
  // A later execution starts empty, so nothing has been written when events are refused.
  const record = await openExecution(head, argument.execution, now);
  if (argument.page && argument.page.first <= record.lastEvent) {
    return { status: "duplicateEvent", lastEvent: record.lastEvent };
  }
  return Object.assign({ status: "acked", now: now }, await commitTurn(head, record, argument, now));
}

/**
 * Whether an earlier call with the same nonce committed the turn: the head remembers the last ones, a page its own.
 *
 * @param {Head} head
 * @param {AckTurn} argument
 * @returns {Promise<boolean>}
 */
async function wasCommitted(head, argument) {
  if (head.turns.some((turn) => turn.nonce === argument.nonce)) {
    return true;
  }
  const page = argument.page && (await read("h:" + argument.execution + ":" + argument.page.first));
  return !!page && page.nonce === argument.nonce;
}

/**
 * @param {Head} head
 * @param {Execution} record
 * @param {AckTurn} argument
 * @param {number} now
 */
async function commitTurn(head, record, argument, now) {
  const lock = /** @type {TurnLock} */ (head.lock);
  const previous = record.lastEvent;
  if (argument.page) {
    await appendPage(head, record, argument.page, argument.nonce);
  }
  await applyMetadata(head, record, argument, now);
  await saveExecution(head, record);
  await changeKv(head, argument.kv, argument.ended, now);
  /** @type {{item: Payload}[]} */
  const items = argument.work;
  await unpackBatches(items.concat(argument.messages, argument.outbox.map((outbox) => outbox.message)));
  const nextWorkStamp = () => {
    head.lastStamp = nextStamp(head.lastStamp, argument.after, now);
    return head.lastStamp;
  };
  const handed = await createWork(head.instanceId, head.slot, argument.work, nextWorkStamp, now);
  for (const id of argument.cancelled) {
    await cancelWork(id);
  }
  await createOutbox(head.instanceId, argument.lockId, argument.outbox, now);
  await removeMessages(head, lock.inline, lock.backlog);
  delete head.lock;
  if (argument.staged) {
    delete head.staged;
  }
  await dropStaged(head);
  const stored = await enqueue(head, argument.messages, argument.after, now);
  head.turns.push({ lock: argument.lockId, nonce: argument.nonce });
  if (head.turns.length > RememberedTurns) {
    head.turns.shift();
  }
  setTurnReadyAt(head);
  const turn = record === head ? await nextTurn(head, argument, previous, stored, now) : undefined;
  const facts = await saveHead(head);
  return {
    stamp: head.lastStamp, readyAt: lookAt(head, now), head: facts, previous: previous, handed: handed, turn: turn
  };
}

/**
 * The next turn, for a dispatcher that waits: where the caller knew the history before this commit, and so knows
 * it now, and the key-value state is as it was.
 *
 * @param {Head} head
 * @param {AckTurn} argument
 * @param {number} previous
 * @param {Message[]} stored
 * @param {number} now
 * @returns {Promise<LockedTurn | undefined>}
 */
async function nextTurn(head, argument, previous, stored, now) {
  const request = argument.turn;
  const kvChanged = argument.kv.length > 0 || (argument.ended && head.hasKv);
  if (!request || kvChanged || (previous > 0 && knownEvents(head, request) !== previous)) {
    return undefined;
  }
  const known = { incarnation: head.incarnation, execution: head.execution, lastEvent: head.lastEvent };
  return handTurn(head, Object.assign({}, request, { known: known }), stored, now);
}

/**
 * @param {Head} head
 * @param {Execution} record
 * @param {AckTurn} argument
 * @param {number} now
 */
async function applyMetadata(head, record, argument, now) {
  head.updatedAt = now;
  if (argument.name !== undefined && argument.version !== undefined) {
    if (head.createdAt === undefined) {
      head.createdAt = now;
      head.parent = argument.parent;
    }
    head.name = argument.name;
    head.version = argument.version;
  }
  if (argument.pinned !== undefined) {
    record.pinned = argument.pinned;
  }
  if (argument.status !== undefined) {
    record.status = argument.status;
    record.completedAt = now;
    await dropText(record.output);
    record.output = argument.output === undefined ? undefined : await storeText(head, argument.output, now);
  }
  if (argument.customStatus !== undefined) {
    await dropText(head.customStatus);
    const text = argument.customStatus.text;
    head.customStatus = text === undefined ? undefined : await storeText(head, text, now);
    head.customStatusVersion += 1;
  }
}
