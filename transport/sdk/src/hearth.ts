import { abortable, pause } from './abort';
import { Backoff } from './backoff';
import { Connection, type Direction, type Loss, type SocketConstructor } from './connection';
import { Cursors } from './cursors';
import { Emitter } from './emitter';
import { ClosedError, HearthError, isRetryable } from './error';
import { Feeds } from './feeds';
import { Group } from './group';
import { Http } from './http';
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
  ServerEvent,
  SyncedPage,
  SyncRefused,
} from './types';
import { type Uploaded, type UploadOptions, upload } from './upload';

export interface Options {
  /** Base URL such as https://chat.example.com; several are taken in turn. */
  url: string | string[];
  /**
   * Asked at every connect, and again when the token is about to expire. An error is like a failure to connect: the client
   * tries again, but for a HearthError that is not retryable, which ends it.
   */
  token: () => string | Promise<string>;
  /** Where seqs live between visits. */
  storage?: Storage;
  /** Where there is no global WebSocket: Node 20. */
  webSocket?: SocketConstructor;
  /** Who the token is for. Only tells ids of direct conversations before the first connection. */
  user?: string;
}

/**
 * `connecting` until the server's welcome; `online`; `waiting` for the next attempt; `closed` for good: by close(), or
 * because the server does not want this client back.
 */
export type StateName = 'connecting' | 'online' | 'waiting' | 'closed';

export interface State {
  state: StateName;
  url?: string;
  /** The close code; 0 when there was none, as when the connection was refused. */
  code?: number;
  reason?: string;
  retryInMs?: number;
}

export interface Listeners extends Events {
  state: State;
  /** Every frame as it is on the wire, one or more objects in lines. A `refresh` has the token in it. */
  frame: { direction: Direction; text: string };
}

export interface HotOptions {
  /** Rooms an event, at most 50. */
  limit?: number;
  /** The server does not tell them. */
  onError?(error: HearthError): void;
}

const TOKEN_MS = 30_000;
const HOT_AGAIN_MS = 2000;

/** One user's connection, which comes back by itself. Made by connect. */
export class Hearth {
  /** @internal For the groups. */
  readonly feeds: Feeds;
  readonly #options: Options;
  readonly #urls: string[];
  readonly #listeners = new Emitter<Listeners>();
  readonly #sender: Sender;
  readonly #http: Http;
  readonly #cursors: Cursors | undefined;
  readonly #leave = new AbortController();
  #wake = new AbortController();
  #state: State = { state: 'connecting' };
  #connection: Connection | undefined; // while online
  #socket: Connection | undefined; // from the first attempt on
  #arrivals = new Set<(outcome: Connection | Error) => void>();
  #ended: ClosedError | undefined;
  #user: string | undefined;
  #seenMs: number | undefined;
  #lastToken: string | undefined;
  #hot: HotOptions | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#urls = [options.url].flat().map(socketUrl);
    if (this.#urls.length === 0) throw new Error('url is required');
    this.#user = options.user;
    this.feeds = new Feeds(() => this.#seenMs);
    this.#cursors = options.storage && new Cursors(options.storage, () => this.feeds.recallsKnown());
    this.#sender = new Sender((signal) => this.#connected(signal));
    this.#http = new Http({
      base: () => httpUrl(this.#state.url ?? this.#urls[0]!),
      token: async (stale) => (this.#lastToken === stale ? this.#token() : this.#lastToken!),
      left: this.#leave.signal,
    });
    const socket = options.webSocket ?? globalSocket();
    // A device that is back in the net does not wait for its turn.
    globalThis.addEventListener?.('online', () => this.reconnect(), { signal: this.#leave.signal });
    void this.#stayConnected(socket);
  }

  get state(): StateName {
    return this.#state.state;
  }

  /** The user of the token, once connected. */
  get user(): string | undefined {
    return this.#user;
  }

  /** A room or group, or a direct conversation by its id. It asks the server nothing yet. */
  group(id: string): Group {
    return new Group(this, { group: id });
  }

  /** The conversation with a user; the first message opens it. */
  direct(user: string): Group {
    return new Group(this, { to: user });
  }

  /** An event as it comes, or `state`. Returns what ends the listening. */
  on<N extends keyof Listeners>(name: N, listener: (value: Listeners[N]) => void): () => void {
    return this.#listeners.on(name, listener);
  }

  /** The user's conversations, most recent first, with unread and mentions. */
  async conversations(): Promise<Conversation[]> {
    const list: Conversation[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await this.call('sync', { cursor });
      list.push(...(page.results as Conversation[]));
      cursor = page.cursor;
      if (!cursor) return list;
    }
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

  async presence(users: string[]): Promise<Record<string, Presence>> {
    return (await this.call('presence', { users })).users;
  }

  /** Calls with the hot rooms at most once a second, while they change. Returns what ends it. */
  watchHot(listener: (hot: Events['hot']) => void, options: HotOptions = {}): () => void {
    const off = this.on('hot', listener);
    this.#hot = options;
    if (this.#connection) this.#watchHot(this.#connection);
    return () => {
      off();
      if (this.#hot !== options) return;
      this.#hot = undefined;
      this.#connection?.ask('hot', { watch: false }, () => {});
    };
  }

  /** Asks once. After `unavailable` it may have been done. */
  async request<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>> {
    return (await this.#connected()).request(op, fields);
  }

  /** Asks until there is an answer that stays: for what may be done twice. */
  async call<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>> {
    const backoff = new Backoff();
    for (;;) {
      const connection = await this.#connected();
      try {
        return await connection.request(op, fields);
      } catch (error) {
        if (!isRetryable(error)) throw error;
        if (!connection.over) await pause(error.retryAfterMs ?? backoff.next(), this.#leave.signal);
      }
    }
  }

  /** Resolves when connected; rejects when the client has ended. */
  async online(): Promise<void> {
    await this.#connected();
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
    this.#wake.abort();
    this.#connection?.check();
  }

  /** Cuts the connection, as a bad network would. It comes back by itself, after `retryInMs` if that is given: Infinity waits for reconnect(). */
  drop(retryInMs?: number): void {
    this.#socket?.end({ code: 0, reason: 'dropped', afterMs: retryInMs });
  }

  /** Ends the client: loops end, and what was not answered fails with `closed`. */
  close(): void {
    this.#end(new ClosedError(0, 'the client was closed'));
  }

  /** @internal For the groups. */
  send(target: Target, body: Body, options?: SendOptions): Pending {
    const pending = this.#sender.send(target, body, options);
    if ('to' in target) {
      pending.then(
        ({ group }) => this.feeds.created(group),
        () => {},
      );
    }
    return pending;
  }

  /** @internal For the groups. */
  follow(group: string, reader: Reader, options: { patient: boolean; recalledAfterMs?: number }): void {
    if (this.#ended) reader.fail(this.#ended);
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

  async #stayConnected(socket: SocketConstructor): Promise<void> {
    const backoff = new Backoff();
    for (let turn = 0; !this.#ended; turn++) {
      const url = this.#urls[turn % this.#urls.length]!;
      this.#become({ state: 'connecting', url });
      const { loss, welcomed, fatal } = await this.#session(socket, url);
      if (this.#ended) return;
      if (fatal || (loss.code >= 4500 && loss.code <= 4999)) {
        this.#end(new ClosedError(loss.code, loss.reason));
        return;
      }
      if (welcomed) backoff.reset();
      const retryInMs = loss.afterMs || backoff.next();
      this.#wake = new AbortController();
      this.#become({ state: 'waiting', url, code: loss.code, reason: loss.reason, retryInMs });
      await pause(retryInMs, this.#wake.signal);
    }
  }

  /** The life of one connection. */
  async #session(socket: SocketConstructor, url: string): Promise<{ loss: Loss; welcomed: boolean; fatal?: boolean }> {
    let token: string;
    try {
      token = await this.#token();
    } catch (error) {
      const fatal = error instanceof HearthError && !error.retryable;
      return { loss: { code: 0, reason: `no token: ${messageOf(error)}` }, welcomed: false, fatal };
    }
    return new Promise((resolve) => {
      if (this.#ended) {
        resolve({ loss: { code: 0, reason: 'closed' }, welcomed: false });
        return;
      }
      let welcomed = false;
      let connection: Connection;
      try {
        connection = new Connection(new socket(url, ['hearth.v1', `hearth.token.${token}`]), {
          event: (event) => {
            if (event.event === 'welcome' && !welcomed) {
              welcomed = true;
              this.#welcomed(connection, event, url);
            }
            this.#event(connection, event);
          },
          frame: (direction, text) => this.#listeners.emit('frame', { direction, text }),
          time: (ms) => this.#seen(ms),
          ended: (loss) => {
            this.#connection = undefined;
            this.#socket = undefined;
            this.feeds.lost();
            resolve({ loss, welcomed });
          },
        });
      } catch {
        // The error is not told: it may hold the token.
        resolve({ loss: { code: 0, reason: 'no WebSocket can be made of this url and token' }, welcomed, fatal: true });
        return;
      }
      this.#socket = connection;
    });
  }

  async #token(): Promise<string> {
    const given = new AbortController();
    const late = pause(TOKEN_MS, given.signal, this.#leave.signal).then(() => {
      throw new Error('not given in time');
    });
    try {
      this.#lastToken = await Promise.race([Promise.resolve().then(this.#options.token), late]);
      return this.#lastToken;
    } finally {
      late.catch(() => {});
      given.abort();
    }
  }

  #welcomed(connection: Connection, welcome: Events['welcome'], url: string): void {
    this.#user = welcome.user;
    connection.watch(welcome.ping_interval_ms);
    this.feeds.welcome(connection, welcome.limits?.page);
    if (this.#hot) this.#watchHot(connection);
    this.#connection = connection;
    this.#arrived(connection);
    this.#become({ state: 'online', url });
  }

  #event(connection: Connection, event: ServerEvent): void {
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
      case 'token_expiring':
        void this.#refresh(connection);
        break;
    }
    this.#listeners.emit(event.event, event as never);
  }

  /** Whoever is out of a group finds out by subscribing again, and so does who is in it now. */
  #groupChanged({ group, change, user }: Events['group']): void {
    const mine = user === undefined || user === this.#user;
    if (change === 'dismissed' || (mine && (change === 'left' || change === 'removed'))) this.feeds.check(group);
    if (change === 'created' || change === 'joined') this.feeds.created(group);
  }

  /** Without a newer token the server closes with 4002, and the next connection has a token of its own. */
  async #refresh(connection: Connection): Promise<void> {
    try {
      const token = await this.#token();
      await connection.request('refresh', { token });
    } catch {
      // see above
    }
  }

  #watchHot(connection: Connection): void {
    const options = this.#hot;
    connection.ask('hot', { watch: true, limit: options?.limit }, (error) => {
      if (!error || connection.over || this.#hot !== options) return;
      if (!error.retryable) {
        options?.onError?.(error);
        return;
      }
      void pause(error.retryAfterMs ?? HOT_AGAIN_MS, this.#leave.signal).then(() => {
        if (this.#hot === options && !connection.over) this.#watchHot(connection);
      });
    });
  }

  #seen(ms: number): void {
    if (this.#seenMs !== undefined && ms <= this.#seenMs) return;
    this.#seenMs = ms;
    this.#cursors?.touch();
  }

  /** Waits for a connection. */
  #connected(signal?: AbortSignal): Promise<Connection> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (this.#connection) return Promise.resolve(this.#connection);
    const arrival = new Promise<Connection>((resolve, reject) => {
      this.#arrivals.add((outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome)));
    });
    return abortable(arrival, signal);
  }

  #arrived(outcome: Connection | Error): void {
    const waiting = [...this.#arrivals];
    this.#arrivals.clear();
    for (const tell of waiting) tell(outcome);
  }

  #end(error: ClosedError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#cursors?.flush(); // while it is known which groups are caught up with
    this.#leave.abort();
    this.#wake.abort();
    this.#socket?.end({ code: 0, reason: error.message });
    this.feeds.end(error);
    this.#arrived(error);
    this.#cursors?.flush();
    this.#become({ state: 'closed', code: error.closeCode, reason: error.message });
  }

  #become(state: State): void {
    this.#state = state;
    this.#listeners.emit('state', state);
  }
}

/** Connects, and connects again, until close() or until the server does not want this client back. */
export function connect(options: Options): Hearth {
  return new Hearth(options);
}

function socketUrl(base: string): string {
  return `${base.replace(/^http/, 'ws').replace(/\/+$/, '')}/v1/ws`;
}

function httpUrl(socketUrl: string): string {
  return socketUrl.replace(/^ws/, 'http').replace(/\/v1\/ws$/, '');
}

function globalSocket(): SocketConstructor {
  const socket = (globalThis as { WebSocket?: unknown }).WebSocket;
  if (!socket) throw new Error('there is no WebSocket here: pass one as webSocket');
  return socket as SocketConstructor;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
