/**
 * What a locked turn consists of: the batch of messages, the history, the key-value snapshot.
 */

/** At most so many messages with documents of their own go into one turn; the rest waits for the next. */
const BacklogBatch = 256;

/** At most so many characters of such messages: the answer must stay below the service's response limit. */
const BacklogBatchChars = 1000000;

/**
 * @typedef {object} BatchMessage
 * @property {number} stamp
 * @property {number} attempts
 * @property {MessageKind} kind
 * @property {Payload} item
 * @property {boolean} stored whether it has a document of its own
 *
 * @typedef {{messages: BatchMessage[], restReadyAt: number | undefined}} Batch
 */

/**
 * @param {InlineMessage} message
 * @returns {BatchMessage}
 */
function inlineMessage(message) {
  return { stamp: message.stamp, attempts: message.attempts, kind: message.kind, item: message.item, stored: false };
}

/**
 * @param {Head} head
 * @param {Message} message
 * @returns {BatchMessage}
 */
function storedMessage(head, message) {
  const attempts = head.backlog.attempts[message.stamp] || 0;
  return { stamp: message.stamp, attempts: attempts, kind: message.kind, item: message.item, stored: true };
}

/**
 * The visible messages in queue order, and when the earliest of those left out becomes visible.
 *
 * @param {Head} head
 * @param {number} now
 * @returns {Promise<Batch>}
 */
async function visibleMessages(head, now) {
  const inline = head.inbox.filter((message) => message.visibleAt <= now).map(inlineMessage);
  if (head.backlog.count === 0) {
    return { messages: inline, restReadyAt: undefined };
  }
  /** @type {Message[]} */
  const backlog = await select(
    "SELECT TOP " + (BacklogBatch + 1) + " c.stamp, c.visibleAt, c.kind, c.item FROM c" +
      " WHERE c.type = 'message' AND c.visibleAt <= @now ORDER BY c.stamp",
    [{ name: "@now", value: now }],
    (rows) => itemChars(rows) > BacklogBatchChars
  );
  let taken = backlog.slice(0, BacklogBatch);
  while (taken.length > 1 && itemChars(taken) > BacklogBatchChars) {
    taken = taken.slice(0, -1);
  }
  const complete = taken.length === backlog.length && itemChars(taken) <= BacklogBatchChars;
  const stored = taken.map((message) => storedMessage(head, message));
  const all = inline.concat(stored).sort((a, b) => a.stamp - b.stamp);
  if (stored.length === head.backlog.count) {
    return { messages: all, restReadyAt: undefined };
  }
  if (complete) {
    return { messages: all, restReadyAt: await nextVisible(now) };
  }
  // An inline message behind a cut backlog must wait for what is left before it.
  return { messages: all.slice(0, all.indexOf(stored[stored.length - 1]) + 1), restReadyAt: now };
}

/**
 * @param {{item: Payload}[]} messages
 * @returns {number}
 */
function itemChars(messages) {
  return messages.reduce((sum, message) => sum + charsOf(message.item), 0);
}

/**
 * When the earliest backlog message that is not visible yet becomes so.
 *
 * @param {number} now
 * @returns {Promise<number | undefined>}
 */
async function nextVisible(now) {
  const later = await select(
    "SELECT TOP 1 VALUE c.visibleAt FROM c WHERE c.type = 'message' AND c.visibleAt > @now ORDER BY c.visibleAt",
    [{ name: "@now", value: now }],
    () => false
  );
  return later[0];
}

/**
 * Locks the batch for a turn: one more attempt for each of its messages. What stays in the backlog keeps its
 * own time in `backlog.readyAt`, to which messages that arrive meanwhile are added.
 *
 * @param {Head} head
 * @param {Batch} batch
 * @param {string} lockId
 * @param {number} until
 */
function takeLock(head, batch, lockId, until) {
  /** @type {TurnLock} */
  const lock = { id: lockId, until: until, inline: [], backlog: [] };
  for (const message of batch.messages) {
    message.attempts += 1;
    if (message.stored) {
      lock.backlog.push(message.stamp);
      head.backlog.attempts[message.stamp] = message.attempts;
    } else {
      lock.inline.push(message.stamp);
    }
  }
  for (const message of head.inbox) {
    if (lock.inline.indexOf(message.stamp) >= 0) {
      message.attempts += 1;
    }
  }
  head.backlog.readyAt = batch.restReadyAt;
  head.lock = lock;
  setTurnReadyAt(head);
}

/**
 * The batch that a lock holds, for a caller that did not hear the answer of its own successful call.
 *
 * @param {Head} head
 * @param {TurnLock} lock
 * @returns {Promise<BatchMessage[]>}
 */
async function lockedMessages(head, lock) {
  const messages = head.inbox
    .filter((message) => lock.inline.indexOf(message.stamp) >= 0)
    .map(inlineMessage);
  for (const stamp of lock.backlog) {
    messages.push(storedMessage(head, await read("m:" + stamp)));
  }
  return messages.sort((a, b) => a.stamp - b.stamp);
}

/**
 * What a dispatcher gets that has locked a turn: key-value state (at most 150 keys, long values elsewhere) and what
 * lies in the head in any case; the rest as long as there is room, for the caller can read it itself.
 *
 * @param {Head} head
 * @param {TurnLock} lock
 * @param {BatchMessage[]} messages
 * @param {TurnRequest} request
 * @param {number} now
 * @returns {Promise<LockedTurn>}
 */
async function turnAnswer(head, lock, messages, request, now) {
  /** @type {Kv | null} */
  const kv = head.hasKv ? await read("kv") : null;
  const slots = kv ? kv.store : {};
  let room = request.answerChars - answerChars(slots);
  const items = messages.map((message) => {
    const chars = answerChars(message.item);
    if (message.stored && chars > room) {
      return { ref: "m:" + message.stamp };
    }
    room -= chars;
    return message.item;
  });
  const known = knownEvents(head, request);
  return {
    status: "locked",
    now: now,
    until: lock.until,
    messages: items,
    attempts: messages.reduce((most, message) => Math.max(most, message.attempts), 0),
    history: head.lastEvent > known ? await historyAfter(head.execution, known, room) : [],
    kv: slots
  };
}

/**
 * What a value takes of an answer, the service counts it like that.
 *
 * @param {any} value
 * @returns {number}
 */
function answerChars(value) {
  return JSON.stringify(value).length;
}

/**
 * Up to which event of the current execution the caller knows the history.
 *
 * @param {Head} head
 * @param {TurnRequest} request
 * @returns {number}
 */
function knownEvents(head, request) {
  const known = request.known;
  return known && known.incarnation === head.incarnation && known.execution === head.execution ? known.lastEvent : 0;
}

/**
 * Whether the request excludes this instance by the version it is pinned to.
 *
 * @param {Head} head
 * @param {TurnRequest} request
 * @returns {boolean}
 */
function isIncompatible(head, request) {
  const filter = request.filter;
  return filter !== null && head.pinned !== undefined && (head.pinned < filter.min || head.pinned > filter.max);
}

/**
 * Hands what has become ready in this run to a dispatcher that waits, instead of leaving it to be found; the
 * caller saves the head afterwards. Only where no query is needed that would have to see what this run wrote.
 *
 * @param {Head} head
 * @param {TurnRequest | undefined} request
 * @param {Message[]} stored messages this run gave documents of their own
 * @param {number} now
 * @returns {Promise<LockedTurn | undefined>} `undefined`: nothing to take, or not in this way
 */
async function handTurn(head, request, stored, now) {
  if (
    !request || head.deletion || head.staged || !hasContext(head, now) || isIncompatible(head, request) ||
    (head.lock && head.lock.until > now) || head.backlog.count > stored.length || itemChars(stored) > BacklogBatchChars
  ) {
    return undefined;
  }
  const ready = (/** @type {{visibleAt: number}} */ message) => message.visibleAt <= now;
  const messages = head.inbox.filter(ready).map(inlineMessage)
    .concat(stored.filter(ready).map((message) => storedMessage(head, message)))
    .sort((a, b) => a.stamp - b.stamp);
  if (messages.length === 0) {
    return undefined;
  }
  const later = stored.filter((message) => !ready(message)).map((message) => message.visibleAt);
  const restReadyAt = later.length > 0 ? Math.min.apply(null, later) : undefined;
  takeLock(head, { messages: messages, restReadyAt: restReadyAt }, request.lockId, now + request.lockMs);
  return turnAnswer(head, /** @type {TurnLock} */ (head.lock), messages, request, now);
}

/**
 * Pages of an execution after an event, in order, as many as take `room` characters of an answer.
 *
 * @param {number} execution
 * @param {number} known
 * @param {number} room
 * @returns {Promise<{first: number, last: number, events: Payload[]}[]>}
 */
async function historyAfter(execution, known, room) {
  if (room <= 0) {
    return [];
  }
  let left = room;
  let fitting = 0;
  const pages = await select(
    "SELECT c.first, c.last, c.events FROM c WHERE c.type = 'history' AND c.execution = @execution" +
      " AND c.first > @known ORDER BY c.first",
    [{ name: "@execution", value: execution }, { name: "@known", value: known }],
    (rows) => {
      while (fitting < rows.length && answerChars(rows[fitting]) <= left) {
        left -= answerChars(rows[fitting]);
        fitting += 1;
      }
      return fitting < rows.length;
    }
  );
  return pages.slice(0, fitting);
}

/**
 * Messages are visible but no turn can start: drops mere queue messages, leaves anything else to wait.
 *
 * @param {Head} head
 * @param {Batch} batch
 */
async function releaseWithoutContext(head, batch) {
  const drop = head.startAt === undefined && batch.messages.every((message) => message.kind === "queue");
  if (drop) {
    const stamps = (/** @type {boolean} */ stored) =>
      batch.messages.filter((message) => message.stored === stored).map((message) => message.stamp);
    await removeMessages(head, stamps(false), stamps(true));
    head.backlog.readyAt = batch.restReadyAt;
  } else {
    // Earlier versions enqueue without saying so; they must not be looked at again and again.
    head.backlog.others = true;
  }
  setTurnReadyAt(head);
  await saveHead(head);
  return { status: drop ? "dropped" : "noContext" };
}

/**
 * Takes messages out of the queue; the caller saves the head afterwards.
 *
 * @param {Head} head
 * @param {number[]} inline stamps of messages in the head
 * @param {number[]} stored stamps of messages with documents of their own
 */
async function removeMessages(head, inline, stored) {
  const taken = head.inbox.filter((message) => inline.indexOf(message.stamp) >= 0);
  head.inbox = head.inbox.filter((message) => inline.indexOf(message.stamp) < 0);
  for (const message of taken) {
    await dropText(message.item);
  }
  for (const stamp of stored) {
    await removeById("m:" + stamp);
    head.backlog.count -= 1;
    delete head.backlog.attempts[stamp];
  }
  if (head.backlog.count === 0) {
    delete head.backlog.others;
  }
}
