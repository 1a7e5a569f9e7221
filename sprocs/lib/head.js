/**
 * The head: the one document per instance that every change of its queue, lock or execution rewrites, with
 * its etag. That makes each change safe even where concurrent procedures of a partition are not validated
 * against each other.
 */

/**
 * Order stamps are whole numbers, so many of them to a millisecond: they name documents, and only whole numbers
 * are written the same way everywhere. They stay below 2^53 until the year 2248.
 */
const StampsPerMs = 1024;

/** A message up to this many characters stays inside the head; longer ones get a document of their own. */
const InlineMessageChars = 2048;

/** The head holds at most so many messages inline. */
const InlineMessages = 16;

/**
 * How long a call that must not be applied twice is remembered, in seconds: callers repeat it for 20, and the last
 * attempt may be under way for 10 more.
 */
const RememberedSeconds = 60;

/** How many of them a head holds; what is pushed out before its time gets a mark of its own. */
const RememberedCalls = 32;

/** How many completions and abandons, and how many turns, a head remembers: just to answer a repeated call well. */
const RememberedAnswers = 32;
const RememberedTurns = 4;

/** @returns {Promise<Head | null>} */
function readHead() {
  return read("head");
}

/**
 * @param {string} instanceId
 * @param {number} slot
 * @param {string} incarnation
 * @returns {Head}
 */
function newHead(instanceId, slot, incarnation) {
  return {
    id: "head",
    instanceId: instanceId,
    type: "head",
    incarnation: incarnation,
    revision: 0,
    slot: slot,
    lastStamp: 0,
    inbox: [],
    backlog: { count: 0, attempts: {} },
    turns: [],
    applied: [],
    execution: 0,
    lastEvent: 0,
    events: 0,
    bytes: 0,
    pages: 0,
    customStatusVersion: 0
  };
}

/**
 * Writes the head back.
 *
 * @param {Head} head
 * @returns {Promise<HeadFacts>} what callers remember of it
 */
async function saveHead(head) {
  head.revision += 1;
  const saved = await save(head);
  return factsOf(head, saved._etag);
}

/**
 * @param {Head} head
 * @param {string | undefined} etag
 * @returns {HeadFacts}
 */
function factsOf(head, etag) {
  return {
    etag: etag,
    revision: head.revision,
    incarnation: head.incarnation,
    execution: head.execution,
    lastEvent: head.lastEvent,
    customStatusVersion: head.customStatusVersion,
    pinned: head.pinned,
    name: head.name,
    version: head.version
  };
}

/**
 * When the caller's dispatchers should look at this head; not while somebody holds it, who will see to it.
 *
 * @param {Head} head
 * @param {number} now
 * @returns {number | undefined}
 */
function lookAt(head, now) {
  return head.lock && head.lock.until > now ? undefined : head.turnReadyAt;
}

/**
 * The next order stamp of this partition. It is later than every stamp this partition gave, and later than
 * `after`, the latest stamp the caller has seen anywhere, so that what a caller enqueues one after the other
 * keeps that order across instances. `after` counts only while it lies in
 * the server's past: a confused caller cannot push an item into the future.
 *
 * @param {number} lastStamp
 * @param {number} after
 * @param {number} now
 * @returns {number}
 */
function nextStamp(lastStamp, after, now) {
  const seen = after < now * StampsPerMs ? after : 0;
  return Math.max((now - 1) * StampsPerMs, lastStamp + 1, seen + 1);
}

/**
 * The time of a stamp, in server milliseconds.
 *
 * @param {number} stamp
 * @returns {number}
 */
function timeOf(stamp) {
  return stamp / StampsPerMs;
}

/**
 * Whether the call `nonce`, which must not be applied twice, is already part of this head.
 *
 * @param {Head} head
 * @param {string} nonce
 * @returns {Promise<boolean>}
 */
async function wasApplied(head, nonce) {
  return head.applied.some((call) => call.nonce === nonce) ||
    (head.applied.length >= RememberedCalls && (await read("i:" + nonce)) !== null);
}

/**
 * @param {Head} head
 * @param {string} nonce
 * @param {number} now
 */
async function rememberApplied(head, nonce, now) {
  head.applied = head.applied.filter((call) => call.at + RememberedSeconds * 1000 > now);
  head.applied.push({ nonce: nonce, at: now });
  if (head.applied.length > RememberedCalls) {
    const oldest = head.applied.splice(0, 1)[0];
    await create({ id: "i:" + oldest.nonce, instanceId: head.instanceId, type: "inbox", ttl: RememberedSeconds });
  }
}

/**
 * Whether the call `nonce`, which finds nothing to do when repeated, is one of the last.
 *
 * @param {Head} head
 * @param {string} nonce
 * @returns {boolean}
 */
function wasAnswered(head, nonce) {
  return head.answered !== undefined && head.answered.indexOf(nonce) >= 0;
}

/**
 * @param {Head} head
 * @param {string} nonce
 */
function rememberAnswered(head, nonce) {
  head.answered = (head.answered || []).concat(nonce).slice(-RememberedAnswers);
}

/**
 * Whether a turn could start here: the instance exists, or a start is among the visible messages.
 *
 * @param {Head} head
 * @param {number} now
 * @returns {boolean}
 */
function hasContext(head, now) {
  return head.execution > 0 || (head.startAt !== undefined && head.startAt <= now);
}

/**
 * Sets when the head next deserves an orchestration dispatcher, and how many messages wait for one; leaves it out
 * of the indexes if never, and if none.
 *
 * Messages for an instance that has not started wait for its start, except when all of them are queue
 * messages: those are dropped by the next fetch. Messages that overtake a hidden start wait for it, too.
 *
 * @param {Head} head
 */
function setTurnReadyAt(head) {
  delete head.turnReadyAt;
  delete head.waiting;
  if (head.deletion) {
    return;
  }
  if (head.lock) {
    head.turnReadyAt = head.lock.until;
    return;
  }
  let at = head.backlog.readyAt === undefined ? Infinity : head.backlog.readyAt;
  let onlyQueueMessages = !head.backlog.others;
  for (const message of head.inbox) {
    at = Math.min(at, message.visibleAt);
    onlyQueueMessages = onlyQueueMessages && message.kind === "queue";
  }
  const starts = head.execution > 0 || head.startAt !== undefined;
  if (at < Infinity && (starts || onlyQueueMessages)) {
    head.turnReadyAt = head.execution > 0 ? at : Math.max(at, head.startAt || 0);
    head.waiting = head.inbox.length + head.backlog.count;
  }
}

/**
 * Puts messages into the instance's queue; the caller saves the head afterwards.
 *
 * @param {Head} head
 * @param {NewMessage[]} messages
 * @param {number} after
 * @param {number} now
 * @returns {Promise<Message[]>} those that got a document of their own
 */
async function enqueue(head, messages, after, now) {
  /** @type {Message[]} */
  const stored = [];
  for (const message of messages) {
    const stamp = nextStamp(head.lastStamp, after, now);
    head.lastStamp = stamp;
    const visibleAt = message.delayMs ? now + message.delayMs : timeOf(stamp);
    if (message.kind === "start") {
      // One that was never hidden does not change the instance's place in the queue.
      const startAt = message.delayMs ? visibleAt : 0;
      head.startAt = head.startAt === undefined ? startAt : Math.min(head.startAt, startAt);
    }
    if (charsOf(message.item) <= InlineMessageChars && head.inbox.length < InlineMessages) {
      head.inbox.push({ stamp: stamp, visibleAt: visibleAt, attempts: 0, kind: message.kind, item: message.item });
    } else {
      const document = {
        id: "m:" + stamp,
        instanceId: head.instanceId,
        type: "message",
        stamp: stamp,
        visibleAt: visibleAt,
        kind: message.kind,
        item: message.item
      };
      await create(document);
      stored.push(document);
      head.backlog.count += 1;
      if (message.kind !== "queue") {
        head.backlog.others = true;
      }
      head.backlog.readyAt =
        head.backlog.readyAt === undefined ? visibleAt : Math.min(head.backlog.readyAt, visibleAt);
    }
  }
  return stored;
}

/**
 * Whether `lockId` holds the head at the time `now`.
 *
 * @param {Head | null} head
 * @param {string} lockId
 * @param {number} now
 * @returns {boolean}
 */
function holdsTurn(head, lockId, now) {
  return head !== null && head.deletion === undefined && head.lock !== undefined && head.lock.id === lockId && head.lock.until > now;
}
