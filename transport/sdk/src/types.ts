// The protocol's objects, with the names they have on the wire. Times and durations are milliseconds.

/** What a message is made of. */
export type Element =
  | { type: 'text'; text: string }
  | { type: 'sticker'; index?: number; url?: string; data?: string }
  | { type: 'voice'; url: string; duration_ms: number; bytes?: number }
  | { type: 'image'; url: string; width?: number | null; height?: number | null; bytes?: number; thumb_url?: string }
  | {
      type: 'video';
      url: string;
      duration_ms: number;
      thumb_url?: string;
      width?: number | null;
      height?: number | null;
      bytes?: number;
    }
  | { type: 'file'; url: string; name: string; bytes: number }
  | { type: 'location'; latitude: number; longitude: number; title?: string }
  | { type: 'custom'; data: unknown; desc?: string };

/** One to ten elements. */
export type Body = Element[];

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
export interface SentMessage extends Stored {
  body: Body;
  recalled_ms?: undefined;
  recalled_by?: undefined;
}

/** A message that has no seq yet. In a direct conversation group and from are known with the first connection. */
export interface Draft extends Omit<SentMessage, 'group' | 'from' | 'seq'> {
  group?: string;
  from?: string;
  client_id: string;
}

/** What is left of a message that was recalled. */
export interface Tombstone extends Stored {
  body?: undefined;
  /** Left out, and so is who did it, when this client had the message, and was away as it was recalled. */
  recalled_ms?: number;
  recalled_by?: string;
}

/** A message or what is left of it: without `body` it was recalled. */
export type Message = SentMessage | Tombstone;

/** Seqs that have no message, both ends inclusive. A hole told by a push has no reason. */
export interface Hole {
  from: number;
  to: number;
  reason?: 'lost' | 'expired';
}

export type ErrorCode =
  | 'bad_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_member'
  | 'muted'
  | 'rejected'
  | 'stranger_limit'
  | 'not_found'
  | 'conflict'
  | 'already_online'
  | 'gone'
  | 'too_large'
  | 'rate_limited'
  | 'overloaded'
  | 'unavailable'
  | 'internal';

export interface ErrorReply {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
}

export type Role = 'owner' | 'admin' | 'member';
export type GroupType = 'room' | 'group' | 'direct';

/** The answer to `send`. */
export interface Receipt {
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
export interface Page {
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
export interface PulledPage extends Page {
  min_seq: number;
}

/** The answer to `subscribe`. */
export interface SubscribedPage extends Page {
  /** Null in a room that the user has not joined. */
  role: Role | null;
  read_seq: number;
  unread: number;
  persisted_seq: number;
}

/** One group of a `sync` with `groups`. */
export interface SyncedPage extends Page {
  min_seq: number;
  read_seq: number;
  unread: number;
  persisted_seq: number;
  error?: undefined;
}

export interface SyncRefused {
  group: string;
  error: ErrorReply;
}

/** A line of the user's list of conversations. */
export interface Conversation {
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

export interface ReadMark {
  group: string;
  read_seq: number;
  unread: number;
}

/** Who has read a message, without its sender. */
export interface Readers {
  seq: number;
  read_count: number;
  /** Left out when they are more than a hundred. */
  users?: string[];
}

export interface Presence {
  online: boolean;
  devices: string[];
  last_seen_ms?: number;
}

export interface HotGroup {
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
export interface Ops {
  send: [
    fields: {
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
    },
    ok: Receipt,
  ];
  signal: [fields: { group?: string; to?: string; kind: string; data?: unknown }, ok: Empty];
  subscribe: [
    fields: { group: string; after_seq?: number; limit?: number; recalled_after_ms?: number },
    ok: SubscribedPage,
  ];
  unsubscribe: [fields: { group: string }, ok: Empty];
  sync: [
    fields: {
      groups?: Record<string, number>;
      limit?: number;
      max_bytes?: number;
      recalled_after_ms?: number;
      cursor?: string;
    },
    ok: { results: (SyncedPage | SyncRefused | Conversation)[]; cursor?: string },
  ];
  pull: [
    fields: {
      group: string;
      after_seq?: number;
      before_seq?: number;
      before_ms?: number;
      limit?: number;
      recalled_after_ms?: number;
    },
    ok: PulledPage,
  ];
  read: [fields: { group: string; seq: number }, ok: ReadMark];
  recall: [fields: { group: string; seq: number }, ok: Empty];
  presence: [fields: { users: string[] }, ok: { users: Record<string, Presence> }];
  hot: [fields: { watch: boolean; limit?: number }, ok: Empty];
  ping: [fields: Empty, ok: { time_ms: number }];
  refresh: [fields: { token: string }, ok: { expires_ms: number }];
}

export type Empty = Record<string, never>;
export type Op = keyof Ops;
export type Fields<O extends Op> = Ops[O][0];
export type Answer<O extends Op> = Ops[O][1];

export interface Reply<T = unknown> {
  id?: number;
  ok?: T;
  error?: ErrorReply;
}

/** What the server says without being asked, by the name of the event. */
export interface Events {
  welcome: {
    conn: string;
    user: string;
    instance: string;
    time_ms: number;
    ping_interval_ms: number;
    subscribed: number;
    subscribed_all: boolean;
    limits: { message_bytes: number; page: number };
  };
  /** `prev_seq` only where it is not seq-1: the seqs between are a hole. */
  message: Message & { prev_seq?: number };
  durable: { group: string; seq: number };
  recall: { group: string; seq: number; by: string; time_ms: number };
  signal: { group: string; from: string; kind: string; data?: unknown; time_ms: number };
  read: { group: string; user: string; seq: number };
  group: {
    group: string;
    change: 'created' | 'updated' | 'joined' | 'left' | 'removed' | 'role' | 'muted' | 'dismissed';
    user?: string;
    by?: string;
    role?: Role;
    mute_until_ms?: number;
  };
  presence: { user: string; online: boolean };
  /** The first page; `cursor` is there when there are more, for GET /v1/groups/hot. */
  hot: { snapshot: string; time_ms: number; window_ms: number; groups: HotGroup[]; cursor?: string };
  resync: { groups: { group: string; after_seq?: number }[] };
  token_expiring: { expires_ms: number };
  goodbye: { code: number; reason: string; reconnect_after_ms?: number };
}

export type EventName = keyof Events;
/** An event as it is on the wire. */
export type ServerEvent = { [N in EventName]: { event: N } & Events[N] }[EventName];
/** Any object the server writes. */
export type ServerFrame = ServerEvent | Reply;

/** The texts of a body, line by line: what a plain text client would show. */
export function textOf(message: { body?: Body | undefined }): string {
  const texts = (message.body ?? []).flatMap((e) => (e.type === 'text' ? [e.text] : []));
  return texts.join('\n');
}
