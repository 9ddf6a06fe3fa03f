import { abortable, pause } from './abort';
import { Backoff } from './backoff';
import { Connection, type Direction, type Loss, type SocketConstructor } from './connection';
import { ClosedError, HearthError, messageOf } from './error';
import type { Events, ServerEvent } from './types';

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

export interface LinkHooks {
  state(state: State): void;
  frame(direction: Direction, text: string): void;
  /** Before whoever waits for a connection gets it. */
  welcomed(connection: Connection, welcome: Events['welcome']): void;
  event(event: ServerEvent): void;
  time(ms: number): void;
  /** The connection is over, whatever comes next. */
  lost(): void;
  /** There will be no other. */
  ended(error: ClosedError): void;
}

const TOKEN_MS = 30_000;
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/; // what RFC 6455 lets one be

/** The connection that comes back. */
export class Link {
  readonly #urls: string[];
  readonly #newToken: () => string | Promise<string>;
  readonly #hooks: LinkHooks;
  readonly #leave = new AbortController();
  #wake = new AbortController(); // ends the wait behind the connection, or attempt, that there is
  #state: State = { state: 'connecting' };
  #connection: Connection | undefined; // while online
  #socket: Connection | undefined; // while there is one
  readonly #arrivals = new Set<(outcome: Connection | Error) => void>();
  #ended: ClosedError | undefined;
  #token: string | undefined;
  #asking: Promise<string> | undefined; // one for all requests whose token was refused

  /** The urls are taken in turn. */
  constructor(urls: string[], newToken: () => string | Promise<string>, hooks: LinkHooks) {
    if (urls.length === 0) throw new Error('url is required');
    this.#urls = urls;
    this.#newToken = newToken;
    this.#hooks = hooks;
  }

  get state(): State {
    return this.#state;
  }

  get connection(): Connection | undefined {
    return this.#connection;
  }

  get ended(): ClosedError | undefined {
    return this.#ended;
  }

  /** Fires at the end. */
  get left(): AbortSignal {
    return this.#leave.signal;
  }

  /** The base URL in use. */
  get url(): string {
    return this.#state.url ?? this.#urls[0]!;
  }

  /** Connects, until the end. */
  async run(socket: SocketConstructor): Promise<void> {
    const backoff = new Backoff();
    for (let turn = 0; !this.#ended; turn++) {
      const url = this.#urls[turn % this.#urls.length]!;
      this.#wake = new AbortController();
      this.#become({ state: 'connecting', url });
      const { loss, welcomed, fatal } = await this.#session(socket, url);
      if (this.#ended) return;
      if (fatal || (loss.code >= 4500 && loss.code <= 4999)) {
        this.end(new ClosedError(loss.code, loss.reason));
        return;
      }
      if (welcomed) backoff.reset();
      const retryInMs = loss.afterMs || backoff.next();
      this.#become({ state: 'waiting', url, code: loss.code, reason: loss.reason, retryInMs });
      await pause(retryInMs, this.#wake.signal, this.left);
    }
  }

  /** The life of one connection. */
  async #session(socket: SocketConstructor, url: string): Promise<{ loss: Loss; welcomed: boolean; fatal?: boolean }> {
    let token: string;
    try {
      token = await this.#freshToken();
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
        connection = new Connection(new socket(socketUrl(url), ['hearth.v1', `hearth.token.${token}`]), {
          frame: (direction, text) => this.#hooks.frame(direction, text),
          event: (event) => {
            if (event.event === 'welcome' && !welcomed) {
              welcomed = true;
              this.#welcomed(connection, event, url);
            }
            if (event.event === 'token_expiring') void this.#refresh(connection);
            this.#hooks.event(event);
          },
          time: (ms) => this.#hooks.time(ms),
          ended: (loss) => {
            this.#connection = undefined;
            this.#socket = undefined;
            this.#hooks.lost();
            resolve({ loss, welcomed });
          },
        });
      } catch {
        // The error is not told: it may hold the token.
        resolve({ loss: { code: 0, reason: 'no WebSocket can be made of this url' }, welcomed, fatal: true });
        return;
      }
      this.#socket = connection;
    });
  }

  #welcomed(connection: Connection, welcome: Events['welcome'], url: string): void {
    connection.watch(welcome.ping_interval_ms);
    this.#hooks.welcomed(connection, welcome);
    this.#connection = connection;
    this.#arrived(connection);
    this.#become({ state: 'online', url });
  }

  /** Without a newer token the server closes with 4002, and the next connection has a token of its own. */
  async #refresh(connection: Connection): Promise<void> {
    try {
      await connection.request('refresh', { token: await this.#freshToken() });
    } catch {
      // see above
    }
  }

  /** The latest token, or one that comes after `stale`. */
  async token(stale?: string): Promise<string> {
    if (this.#token !== stale) return this.#token!;
    this.#asking ??= this.#freshToken().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #freshToken(): Promise<string> {
    const given = new AbortController();
    const late = pause(TOKEN_MS, given.signal, this.left).then(() => {
      throw new Error('not given in time');
    });
    late.catch(() => {}); // it loses the race
    try {
      const token = await Promise.race([Promise.resolve().then(this.#newToken), late]);
      // A proxy's page, say. No WebSocket can be made with it, and the next answer may be a token.
      if (typeof token !== 'string' || !SUBPROTOCOL.test(token)) throw new Error('what was given is none');
      this.#token = token;
      return token;
    } finally {
      given.abort();
    }
  }

  /** Waits for a connection. */
  connected(signal?: AbortSignal): Promise<Connection> {
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

  reconnect(): void {
    if (this.#connection) this.#connection.check();
    else this.#wake.abort();
  }

  drop(retryInMs?: number): void {
    this.#socket?.end({ code: 0, reason: 'dropped', afterMs: retryInMs });
  }

  end(error: ClosedError): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#leave.abort();
    this.#socket?.end({ code: 0, reason: error.message });
    this.#hooks.ended(error);
    this.#arrived(error);
    this.#become({ state: 'closed', code: error.closeCode, reason: error.message });
  }

  #become(state: State): void {
    this.#state = state;
    this.#hooks.state(state);
  }
}

function socketUrl(base: string): string {
  return `${base.replace(/^http/, 'ws')}/v1/ws`;
}
