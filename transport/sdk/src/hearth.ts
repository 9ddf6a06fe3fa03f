import { pause } from './abort';
import { Backoff } from './backoff';
import type { Connection, Direction, SocketConstructor } from './connection';
import { Conversations, type Unread } from './conversations';
import { Cursors } from './cursors';
import { Emitter } from './emitter';
import { ClosedError, HearthError, isRetryable } from './error';
import { Feeds } from './feeds';
import { Group } from './group';
import { Hot, type HotOptions } from './hot';
import { Http } from './http';
import { Link, type State, type StateName } from './link';
import type { Reader } from './reader';
import { type Pending, Sender, type SendOptions, type Target } from './sender';
import type { Storage } from './storage';
import type {
  Answer,
  Body,
  Conversation,
  ErrorReply,
  Events,
  Fields,
  Op,
  Presence,
  ReadMark,
  ServerEvent,
  SyncedPage,
  SyncRefused,
} from './types';
import { type Uploaded, type UploadOptions, upload } from './upload';

export interface Options {
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

export interface Listeners extends Events {
  state: State;
  /** Every frame as it is on the wire, one or more objects in lines. A `refresh` has the token in it. */
  frame: { direction: Direction; text: string };
}

/** One user's connection, which comes back by itself. Made by connect. */
export class Hearth {
  /** @internal For the groups. */
  readonly feeds: Feeds;
  readonly #link: Link;
  readonly #listeners = new Emitter<Listeners>();
  readonly #sender: Sender;
  readonly #http: Http;
  readonly #hot: Hot;
  readonly #conversations: Conversations;
  readonly #cursors: Cursors | undefined;
  readonly #groups = new Map<string, Group>();
  #user: string | undefined;
  #seenMs: number | undefined;

  constructor(options: Options) {
    const socket = options.webSocket ?? globalSocket();
    const urls = [options.url].flat().map((url) => url.replace(/^ws/, 'http').replace(/\/+$/, ''));
    this.#user = options.user;
    this.feeds = new Feeds(() => this.#seenMs);
    this.#cursors = options.storage && new Cursors(options.storage, () => this.feeds.recallsKnown());
    this.#link = new Link(urls, options.token, {
      state: (state) => this.#listeners.emit('state', state),
      frame: (direction, text) => this.#listeners.emit('frame', { direction, text }),
      welcomed: (connection, welcome) => this.#welcomed(connection, welcome),
      event: (event) => this.#event(event),
      time: (ms) => this.#seen(ms),
      lost: () => {
        this.#cursors?.flush(); // while it is known which groups are caught up with
        this.feeds.lost();
        this.#conversations.lost();
      },
      ended: (error) => {
        this.feeds.end(error);
        this.#cursors?.flush();
      },
    });
    this.#sender = new Sender((signal) => this.#link.connected(signal), this.#link.left);
    this.#http = new Http(this.#link);
    this.#hot = new Hot(this.#link);
    this.#conversations = new Conversations(this);
    // A device that is back in the net does not wait for its turn.
    globalThis.addEventListener?.('online', () => this.reconnect(), { signal: this.#link.left });
    void this.#link.run(socket);
  }

  get state(): StateName {
    return this.#link.state.state;
  }

  /** The user of the token, once connected. */
  get user(): string | undefined {
    return this.#user;
  }

  /** A room or group, or a direct conversation by its id. It asks the server nothing yet. */
  group(id: string): Group {
    return this.#group(id, { group: id });
  }

  /** The conversation with a user; the first message opens it. */
  direct(user: string): Group {
    return this.#group(`to ${user}`, { to: user });
  }

  /** Always the same one: it knows what it has told of typing and reading. */
  #group(key: string, target: Target): Group {
    const group = this.#groups.get(key) ?? new Group(this, target);
    this.#groups.set(key, group);
    return group;
  }

  /** An event of the server as it comes; or `state`, or `frame`. Returns what ends the listening. */
  on<N extends keyof Listeners>(name: N, listener: (value: Listeners[N]) => void): () => void {
    return this.#listeners.on(name, listener);
  }

  /** The user's conversations, most recent first, with unread and mentions. */
  async conversations(): Promise<Conversation[]> {
    const pages: Conversation[][] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await this.call('sync', { cursor });
      pages.push(page.results as Conversation[]);
      cursor = page.cursor;
      if (!cursor) break;
    }
    // Whoever spoke meanwhile in a conversation of a later page moved it to the first one, which was read before.
    if (pages.length > 1) pages.unshift((await this.call('sync', {})).results as Conversation[]);
    const list = new Map<string, Conversation>();
    for (const conversation of pages.flat()) {
      if (!list.has(conversation.group)) list.set(conversation.group, conversation);
    }
    return [...list.values()];
  }

  /**
   * Calls with the conversations as they change, most recent first. Rooms that the user has joined are up to date while
   * they are read, and at every connect. Returns what ends it.
   */
  watchConversations(listener: (list: Conversation[]) => void): () => void {
    return this.#conversations.watchList(listener);
  }

  /** What is behind a seq in each of up to 200 groups, within a budget of bytes: see `more`. */
  async sync(
    groups: Record<string, number>,
    options: { limit?: number; maxBytes?: number; recalledAfterMs?: number } = {},
  ): Promise<(SyncedPage | SyncRefused)[]> {
    const { limit, maxBytes: max_bytes, recalledAfterMs: recalled_after_ms } = options;
    const page = await this.call('sync', { groups, limit, max_bytes, recalled_after_ms });
    return page.results as (SyncedPage | SyncRefused)[];
  }

  /** @internal How far groups and the user are. */
  heads(groups: string[]): Promise<(SyncedPage | SyncRefused)[]> {
    return this.sync(Object.fromEntries(groups.map((group) => [group, Number.MAX_SAFE_INTEGER])));
  }

  async presence(users: string[]): Promise<Record<string, Presence>> {
    return (await this.call('presence', { users })).users;
  }

  /** Calls with the hot rooms at most once a second, while they change. Returns what ends it. */
  watchHot(listener: (hot: Events['hot']) => void, options: HotOptions = {}): () => void {
    const off = this.on('hot', listener);
    const end = this.#hot.watch(options);
    return () => {
      off();
      end();
    };
  }

  /** Asks once. After `unavailable` it may have been done. */
  async request<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>> {
    return (await this.#link.connected()).request(op, fields);
  }

  /** Asks until there is an answer that stays: for what may be done twice. */
  async call<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>> {
    const backoff = new Backoff();
    for (;;) {
      const connection = await this.#link.connected();
      try {
        return await connection.request(op, fields);
      } catch (error) {
        if (!isRetryable(error)) throw error;
        if (!connection.over) await pause(error.retryAfterMs ?? backoff.next(), this.#link.left);
      }
    }
  }

  /** Resolves when connected; rejects when the client has ended. */
  async online(): Promise<void> {
    await this.#link.connected();
  }

  /**
   * One of the HTTP routes, by its path below /v1, as the user: `http('POST', '/groups/tea/join')`. Asked once; after
   * `unavailable` it may have been done.
   */
  async http<T = unknown>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
    return (await this.#http.request(method, path, body, signal)) as T;
  }

  /** Uploads a file, to be sent as an element with its url. Repeated until the server has it, or says a no that stays. */
  upload(file: Blob | Uint8Array | ArrayBuffer, options: UploadOptions = {}): Promise<Uploaded> {
    return upload(this.#http, file, options);
  }

  /** The URL of an upload as a page of another origin needs it; others stay as they are. */
  absolute(url: string): string {
    return this.#http.absolute(url);
  }

  /** Does not wait for the next attempt; while online, makes sure of the connection. For apps that come to the front. */
  reconnect(): void {
    this.#link.reconnect();
  }

  /** Cuts the connection, as a bad network would. It comes back by itself, after `retryInMs` if that is given: Infinity waits for reconnect(). */
  drop(retryInMs?: number): void {
    this.#link.drop(retryInMs);
  }

  /** Ends the client: loops end, and what was not answered fails with `closed`. */
  close(): void {
    this.#link.end(new ClosedError(0, 'the client was closed'));
  }

  /** @internal For the groups. */
  send(target: Target, body: Body, options: SendOptions, group: string | undefined): Pending {
    const pending = this.#sender.send(target, body, options, { group, from: this.#user });
    if ('to' in target) {
      pending.then(
        ({ group }) => this.feeds.created(group),
        () => {},
      );
    }
    return pending;
  }

  /** @internal For the groups. */
  watchUnread(group: string, listener: (unread: Unread) => void): () => void {
    return this.#conversations.watchGroup(group, listener);
  }

  /** @internal For the groups: the user has read here. */
  marked(mark: ReadMark): void {
    this.#conversations.marked(mark);
  }

  /** @internal For the groups. */
  follow(group: string, reader: Reader, options: { patient: boolean; recalledAfterMs?: number }): void {
    if (this.#link.ended) reader.fail(this.#link.ended);
    else this.feeds.add(group, reader, options);
  }

  /** @internal For the groups: where an earlier visit was. */
  async stored(group: string): Promise<{ seq: number | undefined; seenMs: number | undefined } | undefined> {
    if (!this.#cursors) return undefined;
    const [seq, seenMs] = await Promise.all([this.#cursors.seq(group), this.#cursors.seenMs(group)]);
    return { seq, seenMs: seq === undefined ? undefined : (seenMs ?? 0) };
  }

  /** @internal For the groups: the app is done with a message. */
  handled(group: string, seq: number): void {
    this.#cursors?.saveSeq(group, seq);
  }

  /** @internal For the groups. */
  error(reply: ErrorReply | undefined): HearthError {
    return new HearthError(reply ?? { code: 'internal', message: 'no such answer', retryable: true });
  }

  #welcomed(connection: Connection, welcome: Events['welcome']): void {
    this.#user = welcome.user;
    this.feeds.welcome(connection, welcome.limits?.page);
    this.#hot.welcome(connection);
    this.#conversations.welcome();
  }

  #event(event: ServerEvent): void {
    if ('time_ms' in event) this.#seen(event.time_ms);
    switch (event.event) {
      case 'message':
        this.feeds.message(event);
        break;
      case 'recall':
        this.feeds.recall(event);
        break;
      case 'resync':
        this.feeds.resync(event);
        break;
      case 'group':
        this.#groupChanged(event);
        break;
    }
    this.#conversations.event(event);
    this.#listeners.emit(event.event, event as never);
  }

  /** Whoever is out of a group finds out by subscribing again, and so does who is in it now. */
  #groupChanged({ group, change, user }: Events['group']): void {
    const mine = user === undefined || user === this.#user;
    if (change === 'dismissed' || (mine && (change === 'left' || change === 'removed'))) this.feeds.check(group);
    if (change === 'created' || change === 'joined') this.feeds.created(group);
  }

  #seen(ms: number): void {
    if (this.#seenMs !== undefined && ms <= this.#seenMs) return;
    this.#seenMs = ms;
    this.#cursors?.touch();
  }
}

/** Connects, and connects again, until close() or until the server does not want this client back. */
export function connect(options: Options): Hearth {
  return new Hearth(options);
}

function globalSocket(): SocketConstructor {
  const socket = (globalThis as { WebSocket?: unknown }).WebSocket;
  if (!socket) throw new Error('there is no WebSocket here: pass one as webSocket');
  return socket as SocketConstructor;
}
