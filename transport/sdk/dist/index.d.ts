//#region src/types.d.ts
/** What a message is made of. */
type Element = {
  type: 'text';
  text: string;
} | {
  type: 'sticker';
  index?: number;
  url?: string;
  data?: string;
} | {
  type: 'voice';
  url: string;
  duration_ms: number;
  bytes?: number;
} | {
  type: 'image';
  url: string;
  width?: number | null;
  height?: number | null;
  bytes?: number;
  thumb_url?: string;
} | {
  type: 'video';
  url: string;
  duration_ms: number;
  thumb_url?: string;
  width?: number | null;
  height?: number | null;
  bytes?: number;
} | {
  type: 'file';
  url: string;
  name: string;
  bytes: number;
} | {
  type: 'location';
  latitude: number;
  longitude: number;
  title?: string;
} | {
  type: 'custom';
  data: unknown;
  desc?: string;
};
/** One to ten elements. */
type Body = Element[];
interface Stored {
  group: string;
  /** The place in the group; strictly increasing, never given again. */
  seq: number;
  time_ms: number;
  from: string;
  client_id?: string;
  mentions?: string[];
  reply_to?: number;
  /** The id of the API key, when an app server sent it. */
  operator?: string;
}
/** A message as it was sent. */
interface SentMessage extends Stored {
  body: Body;
  recalled_ms?: undefined;
  recalled_by?: undefined;
}
/** A message that has no seq yet. In a direct conversation group and from are known with the first connection. */
interface Draft extends Omit<SentMessage, 'group' | 'from' | 'seq'> {
  group?: string;
  from?: string;
  client_id: string;
}
/** What is left of a message that was recalled. */
interface Tombstone extends Stored {
  body?: undefined;
  /** Left out, and so is who did it, when this client had the message, and was away as it was recalled. */
  recalled_ms?: number;
  recalled_by?: string;
}
/** A message or what is left of it: without `body` it was recalled. */
type Message = SentMessage | Tombstone;
/** Seqs that have no message, both ends inclusive. A hole told by a push has no reason. */
interface Hole {
  from: number;
  to: number;
  reason?: 'lost' | 'expired';
}
type ErrorCode = 'bad_request' | 'unauthorized' | 'forbidden' | 'not_member' | 'muted' | 'rejected' | 'stranger_limit' | 'not_found' | 'conflict' | 'already_online' | 'gone' | 'too_large' | 'rate_limited' | 'overloaded' | 'unavailable' | 'internal';
interface ErrorReply {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
}
type Role = 'owner' | 'admin' | 'member';
type GroupType = 'room' | 'group' | 'direct';
/** The answer to `send`. */
interface Receipt {
  group: string;
  seq: number;
  time_ms: number;
  /** An earlier attempt had got there. */
  duplicate: boolean;
  /** The row is committed in MySQL. */
  durable: boolean;
  persisted_seq: number;
  /** In direct conversations. */
  peer_online?: boolean;
}
/** A range of messages, ascending. */
interface Page {
  group: string;
  max_seq: number;
  messages: Message[];
  holes: Hole[];
  /** Seqs up to `after_seq` recalled since `recalled_after_ms`, when that was asked. */
  recalled?: number[];
  /** There is more in the direction of paging. */
  more: boolean;
}
/** The answer to `pull`. */
interface PulledPage extends Page {
  min_seq: number;
}
/** The answer to `subscribe`. */
interface SubscribedPage extends Page {
  /** Null in a room that the user has not joined. */
  role: Role | null;
  read_seq: number;
  unread: number;
  persisted_seq: number;
}
/** One group of a `sync` with `groups`. */
interface SyncedPage extends Page {
  min_seq: number;
  read_seq: number;
  unread: number;
  persisted_seq: number;
  error?: undefined;
}
interface SyncRefused {
  group: string;
  error: ErrorReply;
}
/** A line of the user's list of conversations. */
interface Conversation {
  group: string;
  type: GroupType;
  name: string;
  max_seq: number;
  read_seq: number;
  unread: number;
  /** The highest unread seq that mentions the user or everybody. */
  mentioned_seq?: number;
  last_message?: Message;
}
interface ReadMark {
  group: string;
  read_seq: number;
  unread: number;
}
/** Who has read a message, without its sender. */
interface Readers {
  seq: number;
  read_count: number;
  /** Left out when they are more than a hundred. */
  users?: string[];
}
interface Presence {
  online: boolean;
  devices: string[];
  last_seen_ms?: number;
}
interface HotGroup {
  rank: number;
  group: string;
  name: string;
  type: GroupType;
  /** Distinct users who spoke within the window. */
  heat: number;
  online: number;
  last_message_ms: number;
}
/** Requests by op: their fields and the `ok` of their answers. */
interface Ops {
  send: [fields: {
    group?: string;
    to?: string;
    body: Body;
    client_id?: string;
    ack?: 'accepted' | 'durable' | 'both';
    timeout_ms?: number;
    echo?: boolean;
    mentions?: string[];
    reply_to?: number;
    priority?: 'high' | 'normal' | 'low';
  }, ok: Receipt];
  signal: [fields: {
    group?: string;
    to?: string;
    kind: string;
    data?: unknown;
  }, ok: Empty];
  subscribe: [fields: {
    group: string;
    after_seq?: number;
    limit?: number;
    recalled_after_ms?: number;
  }, ok: SubscribedPage];
  unsubscribe: [fields: {
    group: string;
  }, ok: Empty];
  sync: [fields: {
    groups?: Record<string, number>;
    limit?: number;
    max_bytes?: number;
    recalled_after_ms?: number;
    cursor?: string;
  }, ok: {
    results: (SyncedPage | SyncRefused | Conversation)[];
    cursor?: string;
  }];
  pull: [fields: {
    group: string;
    after_seq?: number;
    before_seq?: number;
    before_ms?: number;
    limit?: number;
    recalled_after_ms?: number;
  }, ok: PulledPage];
  read: [fields: {
    group: string;
    seq: number;
  }, ok: ReadMark];
  recall: [fields: {
    group: string;
    seq: number;
  }, ok: Empty];
  presence: [fields: {
    users: string[];
  }, ok: {
    users: Record<string, Presence>;
  }];
  hot: [fields: {
    watch: boolean;
    limit?: number;
  }, ok: Empty];
  ping: [fields: Empty, ok: {
    time_ms: number;
  }];
  refresh: [fields: {
    token: string;
  }, ok: {
    expires_ms: number;
  }];
}
type Empty = Record<string, never>;
type Op = keyof Ops;
type Fields<O extends Op> = Ops[O][0];
type Answer<O extends Op> = Ops[O][1];
interface Reply<T = unknown> {
  id?: number;
  ok?: T;
  error?: ErrorReply;
}
/** What the server says without being asked, by the name of the event. */
interface Events {
  welcome: {
    conn: string;
    user: string;
    instance: string;
    time_ms: number;
    ping_interval_ms: number;
    subscribed: number;
    subscribed_all: boolean;
    limits: {
      message_bytes: number;
      page: number;
    };
  };
  /** `prev_seq` only where it is not seq-1: the seqs between are a hole. */
  message: Message & {
    prev_seq?: number;
  };
  durable: {
    group: string;
    seq: number;
  };
  recall: {
    group: string;
    seq: number;
    by: string;
    time_ms: number;
  };
  signal: {
    group: string;
    from: string;
    kind: string;
    data?: unknown;
    time_ms: number;
  };
  read: {
    group: string;
    user: string;
    seq: number;
  };
  group: {
    group: string;
    change: 'created' | 'updated' | 'joined' | 'left' | 'removed' | 'role' | 'muted' | 'dismissed';
    user?: string;
    by?: string;
    role?: Role;
    mute_until_ms?: number;
  };
  presence: {
    user: string;
    online: boolean;
  };
  /** The first page; `cursor` is there when there are more, for GET /v1/groups/hot. */
  hot: {
    snapshot: string;
    time_ms: number;
    window_ms: number;
    groups: HotGroup[];
    cursor?: string;
  };
  resync: {
    groups: {
      group: string;
      after_seq?: number;
    }[];
  };
  token_expiring: {
    expires_ms: number;
  };
  goodbye: {
    code: number;
    reason: string;
    reconnect_after_ms?: number;
  };
}
type EventName = keyof Events;
/** An event as it is on the wire. */
type ServerEvent = { [N in EventName]: {
  event: N;
} & Events[N] }[EventName];
/** Any object the server writes. */
type ServerFrame = ServerEvent | Reply;
/** The texts of a body, line by line: what a plain text client would show. */
declare function textOf(message: {
  body?: Body | undefined;
}): string;
//#endregion
//#region src/error.d.ts
/** A request that was not done. */
declare class HearthError extends Error {
  /** One of the protocol's codes; or `closed`: the client has ended; or `uncertain`: see Group.send. */
  readonly code: ErrorCode | 'closed' | 'uncertain';
  /** The same request, with the same client_id, may be sent again. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  constructor(reply: Omit<ErrorReply, 'code'> & {
    code: ErrorCode | 'closed' | 'uncertain';
  });
}
/** Why a client has ended for good. */
declare class ClosedError extends HearthError {
  /** The close code, 4500 to 4999; 0 when this side ended it. */
  readonly closeCode: number;
  constructor(closeCode: number, reason: string);
}
//#endregion
//#region src/connection.d.ts
/** As much of a WebSocket as is used. */
interface SocketLike {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
}
type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;
type Direction = 'in' | 'out';
//#endregion
//#region src/conversations.d.ts
/** How far a group is, and the user in it. */
interface Unread {
  group: string;
  max_seq: number;
  read_seq: number;
  unread: number;
  /** The highest unread seq that mentions the user or everybody. */
  mentioned_seq?: number;
}
//#endregion
//#region src/link.d.ts
/**
 * `connecting` until the server's welcome; `online`; `waiting` for the next attempt; `closed` for good: by close(), or
 * because the server does not want this client back.
 */
type StateName = 'connecting' | 'online' | 'waiting' | 'closed';
interface State {
  state: StateName;
  url?: string;
  /** The close code; 0 when there was none, as when the connection was refused. */
  code?: number;
  reason?: string;
  retryInMs?: number;
}
//#endregion
//#region src/hot.d.ts
interface HotOptions {
  /** Rooms an event, at most 50. With several watchers all get as many as the one that wants most. */
  limit?: number;
  /** The server does not tell them. */
  onError?(error: HearthError): void;
}
//#endregion
//#region src/storage.d.ts
/**
 * Where seqs live between visits. What is kept of a group is the last seq that was handed out, and the time up to which
 * its recalls are known. It may be slow: nothing waits for `save`.
 */
interface Storage {
  load(key: string): number | undefined | null | Promise<number | undefined | null>;
  save(key: string, value: number): void | Promise<void>;
}
/** Keeps the integers in the page's localStorage. Each user needs a prefix of his own, and so does each server. */
declare function browserStorage(prefix?: string): Storage;
//#endregion
//#region src/upload.d.ts
interface UploadOptions {
  /** The file's name; without it that of the File. */
  name?: string;
  /** The content type; without it that of the Blob. */
  type?: string;
  /** Gives up. */
  signal?: AbortSignal;
}
/** A file that the server has. */
interface Uploaded {
  /** What messages take: a path of the server, see Hearth.absolute. */
  url: string;
  name: string;
  type: string;
  bytes: number;
}
//#endregion
//#region src/hearth.d.ts
interface Options {
  /** Base URL such as https://chat.example.com; several are taken in turn. */
  url: string | string[];
  /**
   * Asked at every connect, and again when the token is about to expire. An error, or what cannot be a token, is like a
   * failure to connect: the client tries again, but for a HearthError that is not retryable, which ends it.
   */
  token: () => string | Promise<string>;
  /** Where seqs live between visits. */
  storage?: Storage;
  /** Where there is no global WebSocket: Node 20. */
  webSocket?: SocketConstructor;
  /** Who the token is for. Only tells ids of direct conversations before the first connection. */
  user?: string;
}
interface Listeners extends Events {
  state: State;
  /** Every frame as it is on the wire, one or more objects in lines. A `refresh` has the token in it. */
  frame: {
    direction: Direction;
    text: string;
  };
}
/** One user's connection, which comes back by itself. Made by connect. */
declare class Hearth {
  #private;
  constructor(options: Options);
  get state(): StateName;
  /** The user of the token, once connected. */
  get user(): string | undefined;
  /** A room or group, or a direct conversation by its id. It asks the server nothing yet. */
  group(id: string): Group;
  /** The conversation with a user; the first message opens it. */
  direct(user: string): Group;
  /** An event of the server as it comes; or `state`, or `frame`. Returns what ends the listening. */
  on<N extends keyof Listeners>(name: N, listener: (value: Listeners[N]) => void): () => void;
  /** The user's conversations, most recent first, with unread and mentions. */
  conversations(): Promise<Conversation[]>;
  /**
   * Calls with the conversations as they change, most recent first. Rooms that the user has joined are up to date while
   * they are read, and at every connect. Returns what ends it.
   */
  watchConversations(listener: (list: Conversation[]) => void): () => void;
  /** What is behind a seq in each of up to 200 groups, within a budget of bytes: see `more`. */
  sync(groups: Record<string, number>, options?: {
    limit?: number;
    maxBytes?: number;
    recalledAfterMs?: number;
  }): Promise<(SyncedPage | SyncRefused)[]>;
  presence(users: string[]): Promise<Record<string, Presence>>;
  /** Calls with the hot rooms at most once a second, while they change. Returns what ends it. */
  watchHot(listener: (hot: Events['hot']) => void, options?: HotOptions): () => void;
  /** Asks once. After `unavailable` it may have been done. */
  request<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>>;
  /** Asks until there is an answer that stays: for what may be done twice. */
  call<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>>;
  /** Resolves when connected; rejects when the client has ended. */
  online(): Promise<void>;
  /**
   * One of the HTTP routes, by its path below /v1, as the user: `http('POST', '/groups/tea/join')`. Asked once; after
   * `unavailable` it may have been done.
   */
  http<T = unknown>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T>;
  /** Uploads a file, to be sent as an element with its url. Repeated until the server has it, or says a no that stays. */
  upload(file: Blob | Uint8Array | ArrayBuffer, options?: UploadOptions): Promise<Uploaded>;
  /** The URL of an upload as a page of another origin needs it; others stay as they are. */
  absolute(url: string): string;
  /** Does not wait for the next attempt; while online, makes sure of the connection. For apps that come to the front. */
  reconnect(): void;
  /** Cuts the connection, as a bad network would. It comes back by itself, after `retryInMs` if that is given: Infinity waits for reconnect(). */
  drop(retryInMs?: number): void;
  /** Ends the client: loops end, and what was not answered fails with `closed`. */
  close(): void;
}
/** Connects, and connects again, until close() or until the server does not want this client back. */
declare function connect(options: Options): Hearth;
//#endregion
//#region src/reader.d.ts
/** A message was recalled. Told once or more; `by` and `time_ms` are missing when it happened while this client was away. */
interface Recall {
  group: string;
  seq: number;
  by?: string;
  time_ms?: number;
}
/** What a reader of a group is told. */
interface ReaderHooks {
  /** Every message behind the start, once, in the order of seq. */
  onMessage?(message: Message): void;
  /** In its place among the messages: these seqs have none. */
  onHole?(hole: Hole): void;
  onRecall?(recall: Recall): void;
  /** More messages were recalled while this client was away than the server lists: pull again what is shown. */
  onRecallsLost?(): void;
  /**
   * Messages that the server had told as lost and has found again, among others that came before. Without it they are
   * not asked for.
   */
  onRepair?(message: Message): void;
  /** Caught up: after every connect and every repair. */
  onLive?(page: SubscribedPage): void;
  /** The group is not followed any more. Nobody is told without it. */
  onError?(error: Error): void;
}
//#endregion
//#region src/sender.d.ts
interface SendOptions {
  /** What the server knows a repetition by, for ten minutes. Made by the SDK when it is missing. */
  clientId?: string;
  mentions?: string[];
  replyTo?: number;
  ack?: 'accepted' | 'durable' | 'both';
  timeoutMs?: number;
  priority?: 'high' | 'normal' | 'low';
  /** Gives up. The message may have been sent by then. */
  signal?: AbortSignal;
}
/** A message on its way. */
interface Pending extends Promise<Receipt> {
  /** It is on the message that comes back. */
  readonly clientId: string;
  /** What a page shows until then. */
  readonly message: Draft;
}
type Target = {
  group: string;
} | {
  to: string;
};
//#endregion
//#region src/group.d.ts
interface StreamOptions extends Omit<ReaderHooks, 'onMessage' | 'onError'> {
  /**
   * Begin behind this seq; 0 is the whole history. Without it: behind the seq in the storage, else with what comes from
   * now on.
   */
  after?: number;
  /** The time, by the server's clock, up to which the app knows of recalls of what it has; goes with `after`. */
  recalledAfterMs?: number;
}
interface FollowOptions extends StreamOptions, ReaderHooks {}
interface HistoryOptions {
  /** Begin below this seq, else with the newest message. */
  before?: number;
  /** Begin with what was sent before this time. */
  beforeMs?: number;
  /** Messages a page, 1 to 200. */
  limit?: number;
}
type GroupEvent = 'durable' | 'recall' | 'signal' | 'read' | 'group' | 'message';
/** A room, a group or a direct conversation. */
declare class Group {
  #private;
  protected readonly hearth: Hearth;
  protected readonly target: Target;
  /** The group's id. That of a direct conversation is known with the first connection, if connect was not told the user. */
  get id(): string;
  /** The id, as soon as it is known. */
  ready(): Promise<string>;
  /**
   * The messages, in order, none missing, none twice, over any number of connections. Leaving the loop ends it. It throws
   * when the group may not be read (any more) or the client has ended.
   */
  messages(options?: StreamOptions): AsyncIterableIterator<Message>;
  /** The same with callbacks. Returns what ends it. */
  follow(options: FollowOptions): () => void;
  /**
   * Sends a text or a body. It is repeated with the same client_id, over other connections too, until the server has said
   * yes or a no that stays; messages of one group go in the order of the calls. After nine minutes without a word about
   * an attempt that may have got there it fails with `uncertain` rather than be sent twice.
   */
  send(body: string | Body, options?: SendOptions): Pending;
  /** One page of what was before, ascending. */
  page({
    before,
    beforeMs,
    limit
  }?: HistoryOptions): Promise<PulledPage>;
  /** All of what was before, page by page, the newest first. */
  history(options?: HistoryOptions): AsyncGenerator<PulledPage, void, undefined>;
  /** How far the group and the user are: max_seq, read_seq, unread, persisted_seq. */
  head(): Promise<SyncedPage>;
  /** Moves the user's read mark forward. Calls while one is on its way become one. */
  markRead(seq: number): Promise<ReadMark>;
  /** Calls with what is unread here, as it changes; of a room while it is read, and at every connect. Returns what ends it. */
  watchUnread(listener: (unread: Unread) => void): () => void;
  /** Who has read a message. */
  readers(seq: number): Promise<Readers>;
  /** Calls with who has read a message, as it changes; in groups of over a hundred at every connect. Returns what ends it. */
  watchReaders(message: Pick<Message, 'seq' | 'from'>, listener: (readers: Readers) => void): () => void;
  /** Takes a message back. */
  recall(seq: number): Promise<void>;
  /** Says something to who is subscribed now; it is not stored, and not repeated. */
  signal(kind: string, data?: unknown): Promise<void>;
  /** To be called at every key: tells the others, not too often, that the user types. */
  typing(): void;
  /** Calls with the users who type now, whenever that changes. Returns what ends it. */
  onTyping(listener: (users: string[]) => void): () => void;
  /**
   * An event of this group as it comes: receipts are `read`. Those that came while there was no connection are not
   * repeated; messages are better read with `messages`.
   */
  on<N extends GroupEvent>(name: N, listener: (event: Events[N]) => void): () => void;
}
/** The id of the conversation of two users. */
declare function directId(a: string, b: string): string;
//#endregion
export { Answer, Body, ClosedError, Conversation, type Direction, Draft, Element, Empty, ErrorCode, ErrorReply, EventName, Events, Fields, type FollowOptions, type Group, GroupType, type Hearth, HearthError, type HistoryOptions, Hole, HotGroup, type HotOptions, type Listeners, Message, Op, Ops, type Options, Page, type Pending, Presence, PulledPage, ReadMark, type ReaderHooks, Readers, type Recall, Receipt, Reply, Role, type SendOptions, SentMessage, ServerEvent, ServerFrame, type SocketConstructor, type SocketLike, type State, type StateName, type Storage, type StreamOptions, SubscribedPage, SyncRefused, SyncedPage, Tombstone, type Unread, type UploadOptions, type Uploaded, browserStorage, connect, directId, textOf };