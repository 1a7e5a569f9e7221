/** Shapes of the documents and arguments, for the type check of the procedures. */

interface Stored {
  id: string;
  instanceId: string;
  type: string;
  _etag?: string;
}

/** What happens to a message: "start" begins an execution, "queue" waits in a mailbox, "other" is the rest. */
type MessageKind = "start" | "queue" | "other";

/** A text where it is, or the document it is in, which nobody ever changes. */
type Payload = string | { ref: string; /** Which text of a staged batch; only in arguments. */ at?: number };

interface NewMessage {
  /** The work item as JSON text; never parsed here. */
  item: Payload;
  kind: MessageKind;
  /** Visible so many milliseconds after the server's now. */
  delayMs?: number;
}

interface InlineMessage {
  stamp: number;
  visibleAt: number;
  /** How often a fetch has handed it out. */
  attempts: number;
  kind: MessageKind;
  item: Payload;
}

interface Message extends Stored {
  stamp: number;
  visibleAt: number;
  kind: MessageKind;
  item: Payload;
}

interface TurnLock {
  id: string;
  /** Server time in ms until which it holds. */
  until: number;
  /** Stamps of the locked messages that lie in the head. */
  inline: number[];
  /** Stamps of the locked messages that have documents of their own. */
  backlog: number[];
}

/** What is known of one execution: in the head for the current one, in `x:<execution>` for earlier ones. */
interface Execution {
  execution: number;
  lastEvent: number;
  /** Events stored, their size in bytes, and the pages they lie in. */
  events: number;
  bytes: number;
  pages: number;
  status?: string;
  output?: Payload;
  startedAt?: number;
  completedAt?: number;
  pinned?: number;
}

/** Earlier executions to remove, first and last one of each range, and what has been removed. */
interface Pruning {
  id: string;
  ranges: [number, number][];
  executions: number;
  events: number;
}

interface Head extends Stored, Execution {
  incarnation: string;
  /** Grows with every change. */
  revision: number;
  slot: number;
  /** Absent while no message waits; see `setTurnReadyAt`. */
  turnReadyAt?: number;
  /** Messages in the queue, while it is not locked: what queue depths add up. */
  waiting?: number;
  lastStamp: number;
  inbox: InlineMessage[];
  /**
   * Messages with documents of their own; `others` says that not all are queue messages. While a lock is held,
   * `readyAt` speaks of those not locked.
   */
  backlog: { count: number; others?: boolean; readyAt?: number; attempts: { [stamp: string]: number } };
  /** When the earliest start in the queue becomes visible, 0 if it was never hidden; see `hasContext`. */
  startAt?: number;
  lock?: TurnLock;
  /** Texts sent ahead under the lock, until the commit that refers to them. */
  staged?: string[];
  /** The last prune; what it still has to remove is not there for readers. */
  pruning?: Pruning;
  /** Set while the instance is being deleted; with `before`, documents up to that stamp are its remains. */
  deletion?: { id: string; before?: number };
  turns: { lock: string; nonce: string }[];
  /** Calls that must not be applied twice; where it is full, there may be marks `i:<nonce>` of others. */
  applied: { nonce: string; at: number }[];
  /** Nonces of the last completions and abandons. */
  answered?: string[];
  name?: string;
  version?: string;
  parent?: string;
  createdAt?: number;
  updatedAt?: number;
  customStatus?: Payload;
  customStatusVersion: number;
  hasKv?: boolean;
}

/** What callers remember of a head, to know without asking what is new. */
interface HeadFacts {
  etag: string | undefined;
  revision: number;
  incarnation: string;
  execution: number;
  lastEvent: number;
  customStatusVersion: number;
  pinned?: number;
  name?: string;
  version?: string;
}

/** What a dispatcher asks for that would take a turn. */
interface TurnRequest {
  lockId: string;
  lockMs: number;
  /** A range of pinned versions; an instance pinned outside it is not locked. */
  filter: { min: number; max: number } | null;
  /** Bounds the answer; the caller reads the rest itself. */
  answerChars: number;
  /** The history the caller has already, up to that event. */
  known: { incarnation: string; execution: number; lastEvent: number } | null;
}

/** A locked turn. */
interface LockedTurn {
  status: "locked";
  now: number;
  until: number;
  /** One there was no room for refers to its document. */
  messages: Payload[];
  attempts: number;
  /** What the caller does not know, in order; the end is left out where there is no room. */
  history: { first: number; last: number; events: Payload[] }[];
  kv: { [key: string]: KvSlot };
}

/** What a worker asks for that would take a work item. */
interface WorkRequest {
  workId: string;
  lockId: string;
  lockMs: number;
}

/** A value and when it was set; without `value` it is cleared. */
interface KvSlot {
  value?: Payload;
  at?: number;
}

/** Key-value state: what earlier executions left, and what the running one changed (null = cleared). */
interface Kv extends Stored {
  store: { [key: string]: KvSlot };
  delta: { [key: string]: KvSlot };
}

interface Work extends Stored {
  /** When it next deserves a worker: visible, or its lock expires. */
  workReadyAt: number;
  /** Its place in the queue, kept while it is locked or hidden. */
  firstReadyAt?: number;
  slot: number;
  tag?: string;
  session?: string;
  attempts: number;
  /** While it is not locked: what queue depths count. */
  waiting?: 1;
  lock?: { id: string; until: number };
  nonce?: string;
  /** Nonce of the last call that gave it back. */
  abandoned?: string;
  /** Texts sent ahead under its lock, until the completion that refers to them is committed. */
  staged?: string[];
  /** The work item as JSON text; never parsed here. */
  item: Payload;
}

interface NewWork {
  id: string;
  /** Of the call that enqueues it by itself: a repeated call carries the same one. */
  nonce?: string;
  item: Payload;
  tag?: string;
  session?: string;
  /** A worker that waits takes it at once. */
  lock?: { id: string; ms: number };
}

/** A deletion under way, in `$system`. */
interface Deletion extends Stored {
  /** When it is given to the reconcilers, in server ms: the end of its owner's lease. */
  outboxAt: number;
  /** Of the instances to delete. */
  partitions: string[];
  /** At most one of these is set, for good. */
  committed: boolean;
  undone: boolean;
}

interface Session extends Stored {
  session: string;
  owner: string;
  sessionUntil: number;
  lastActivityAt: number;
}

interface NewPage {
  first: number;
  last: number;
  count: number;
  /** Each event as JSON text, never parsed here; one that refers to a staged batch stands for many. */
  events: Payload[];
  /** Their size in bytes. */
  bytes: number;
}

interface OutboxMessage {
  /** Partition key of the receiver. */
  to: string;
  message: NewMessage;
}

/** A key set (`value` given), cleared (no `value`), or all keys cleared (no `key`). */
interface KvChange {
  key?: string;
  value?: Payload;
  at?: number;
}

interface AckTurn {
  lockId: string;
  /** Of this acknowledgement: a repeated call carries the same one, another acknowledgement does not. */
  nonce: string;
  after: number;
  execution: number;
  page?: NewPage;
  work: NewWork[];
  /** Ids of work documents to delete. */
  cancelled: string[];
  /** Messages of the turn to its own instance. */
  messages: NewMessage[];
  outbox: OutboxMessage[];
  name?: string;
  version?: string;
  parent?: string;
  pinned?: number;
  status?: string;
  output?: Payload;
  customStatus?: { text?: Payload };
  kv: KvChange[];
  /** A dispatcher that waits takes what else there is to do. */
  turn?: TurnRequest;
  /** Whether the execution ends with this turn. */
  ended: boolean;
  /** Whether it refers to staged texts. */
  staged: boolean;
}
