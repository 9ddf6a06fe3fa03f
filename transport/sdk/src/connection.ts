import { HearthError, unanswered } from './error';
import type { Answer, Fields, Op, Reply, ServerEvent, ServerFrame } from './types';

/** As much of a WebSocket as is used. */
export interface SocketLike {
  send(data: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: never) => unknown) | null;
  onmessage: ((event: never) => unknown) | null;
  onclose: ((event: never) => unknown) | null;
  onerror: ((event: never) => unknown) | null;
}

export type SocketConstructor = new (url: string, protocols: string[]) => SocketLike;

/** How a connection ended, or why there is none. */
export interface Loss {
  /** The close code; 0 when there was none. */
  code: number;
  reason: string;
  /** The server's word on when to come back. */
  afterMs?: number;
}

export type Direction = 'in' | 'out';

export type Answered<O extends Op> = (error: HearthError | undefined, ok: Answer<O> | undefined) => void;

interface Question {
  answered: Answered<Op>;
  timer: ReturnType<typeof setTimeout>;
}

export interface ConnectionHooks {
  event(event: ServerEvent): void;
  /** Every frame as it is. */
  frame(direction: Direction, text: string): void;
  /** The time by the server's clock, as it answers pings. */
  time(ms: number): void;
  /** Called once, before the requests that are not answered fail. */
  ended(loss: Loss): void;
}

const LOST = 'the connection was lost or refused';
const ANSWER_MS = 20_000; // the server gives up on a request before that
const WELCOME_MS = 20_000; // to connect and be welcome
const PONG_MS = 10_000;
const MAX_OBJECTS = 100; // a frame
const MAX_FRAME_BYTES = 64 * 1024;
// The server takes 100 frames a second. Whatever waits for its turn meanwhile goes in one frame.
const FRAME_INTERVAL_MS = 1000 / 80;
const FRAME_BURST = 40; // frames that may go at once after a rest

/** One WebSocket: frames, requests and their answers, and whether the other side is still there. */
export class Connection {
  readonly #socket: SocketLike;
  readonly #hooks: ConnectionHooks;
  readonly #questions = new Map<number, Question>();
  #lastId = 0;
  #queue: string[] = [];
  #flushing = false;
  #nextTurn = 0;
  #goodbye: Loss | undefined;
  #over = false;
  #watch: ReturnType<typeof setTimeout>;
  #pingMs = 0;

  constructor(socket: SocketLike, hooks: ConnectionHooks) {
    this.#socket = socket;
    this.#hooks = hooks;
    socket.onmessage = (event: { data: unknown }) => this.#receive(event.data);
    socket.onclose = (event: { code?: number; reason?: string }) =>
      this.end({ code: event.code ?? 0, reason: event.reason || LOST });
    socket.onerror = () => {
      // Later a close follows. A handshake that fails has none in Node 20.
      if (this.#pingMs === 0) this.end({ code: 0, reason: LOST });
    };
    this.#watch = setTimeout(() => this.end({ code: 0, reason: 'no welcome' }), WELCOME_MS);
  }

  /** From the welcome on this side asks, too: it may not see the server's pings. */
  watch(pingMs: number): void {
    this.#pingMs = pingMs > 0 ? pingMs : 25_000;
    this.#heard();
  }

  get over(): boolean {
    return this.#over;
  }

  /** Asks; the answer is told in its place among the events. */
  ask<O extends Op>(op: O, fields: Fields<O>, answered: Answered<O>): void {
    if (this.#over) {
      answered(unanswered('the connection was lost'), undefined);
      return;
    }
    const id = ++this.#lastId;
    const object = JSON.stringify({ id, op, ...fields });
    if (utf8Length(object) > MAX_FRAME_BYTES) {
      answered(
        new HearthError({ code: 'too_large', message: 'the request is over 64 KiB', retryable: false }),
        undefined,
      );
      return;
    }
    const timer = setTimeout(() => this.#answer(id, unanswered('no answer in time'), undefined), ANSWER_MS);
    this.#questions.set(id, { answered: answered as Answered<Op>, timer });
    this.#queue.push(object);
    this.#flushSoon();
  }

  /** Asks once. Whether it was done is not known after `unavailable`. */
  request<O extends Op>(op: O, fields: Fields<O>): Promise<Answer<O>> {
    return new Promise((resolve, reject) => {
      this.ask(op, fields, (error, ok) => (error ? reject(error) : resolve(ok as Answer<O>)));
    });
  }

  /** Gives the socket up at once: the close of a dead network may take minutes to be noticed. */
  end(loss: Loss): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#watch);
    this.#queue = [];
    const socket = this.#socket;
    socket.onmessage = null;
    socket.onclose = null;
    // onerror stays: closing a socket that is not open yet may be an error.
    try {
      socket.close(1000);
    } catch {
      // It is closed already.
    }
    this.#hooks.ended(this.#goodbye ?? loss);
    for (const id of [...this.#questions.keys()]) this.#answer(id, unanswered('the connection was lost'), undefined);
  }

  #receive(data: unknown): void {
    if (typeof data !== 'string') return;
    this.#heard();
    this.#hooks.frame('in', data);
    for (const line of data.split('\n')) {
      if (this.#over) return;
      const object = parse(line);
      if (object === undefined) continue; // a message among it will be missed, and asked for
      if ('event' in object) this.#event(object);
      else this.#reply(object);
    }
  }

  #event(event: ServerEvent): void {
    if (event.event === 'goodbye') {
      this.#goodbye = { code: event.code, reason: event.reason, afterMs: event.reconnect_after_ms };
    }
    this.#hooks.event(event);
  }

  #reply({ id, ok, error }: Reply): void {
    if (id === undefined) return;
    this.#answer(id, error && new HearthError(error), ok);
  }

  #answer(id: number, error: HearthError | undefined, ok: unknown): void {
    const question = this.#questions.get(id);
    if (!question) return; // too late
    this.#questions.delete(id);
    clearTimeout(question.timer);
    question.answered(error, ok as Answer<Op>);
  }

  #heard(): void {
    if (this.#pingMs === 0) return;
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#ping(), this.#pingMs);
  }

  /** Asks now whether the other side is still there. */
  check(): void {
    if (this.#pingMs === 0 || this.#over) return;
    clearTimeout(this.#watch);
    this.#ping();
  }

  #ping(): void {
    this.#watch = setTimeout(() => this.end({ code: 0, reason: 'not a word from the server' }), PONG_MS);
    this.ask('ping', {}, (_, ok) => {
      if (ok) this.#hooks.time(ok.time_ms);
    });
  }

  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    const delay = this.#turn();
    if (delay > 0) setTimeout(() => this.#flush(), delay);
    else queueMicrotask(() => this.#flush());
  }

  /** Takes the next turn and tells how long to wait for it. */
  #turn(): number {
    const now = Date.now();
    this.#nextTurn = Math.max(this.#nextTurn, now - FRAME_BURST * FRAME_INTERVAL_MS) + FRAME_INTERVAL_MS;
    return Math.min(this.#nextTurn - now, 1000); // whatever the clock does meanwhile
  }

  #flush(): void {
    this.#flushing = false;
    if (this.#over || this.#queue.length === 0) return;
    let bytes = 0;
    let n = 0;
    while (n < this.#queue.length && n < MAX_OBJECTS) {
      bytes += utf8Length(this.#queue[n]!) + (n > 0 ? 1 : 0);
      if (n > 0 && bytes > MAX_FRAME_BYTES) break;
      n++;
    }
    const frame = this.#queue.splice(0, n).join('\n');
    try {
      this.#socket.send(frame);
    } catch {
      this.end({ code: 0, reason: 'the connection was lost' });
      return;
    }
    this.#hooks.frame('out', frame);
    if (this.#queue.length > 0) this.#flushSoon();
  }
}

/** One line of a frame; undefined when it is no object. */
export function parse(line: string): ServerFrame | undefined {
  if (line.trim() === '') return undefined;
  try {
    const object: unknown = JSON.parse(line);
    return typeof object === 'object' && object !== null ? (object as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}

function utf8Length(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800 || (unit >= 0xd800 && unit < 0xe000)) bytes += 1;
    else bytes += 2;
  }
  return bytes;
}
