import { connect, type Hearth, type Message, type Options } from '../src/index';

/** An object as it is read from a frame. */
// biome-ignore lint/suspicious/noExplicitAny: what the other side wrote is not known
export type Obj = Record<string, any>;

type Handler = (request: Obj, socket: FakeSocket) => Obj | undefined;

const LATENCY_MS = 5;

/** As much of a server as the SDK needs, in this process, with faults to order. */
export class FakeServer {
  readonly logs = new Map<string, Message[]>();
  readonly recalled: { group: string; seq: number; time_ms: number }[] = [];
  readonly sockets: FakeSocket[] = [];
  readonly requests: Obj[] = [];
  /** Instead of the usual answer. */
  readonly handlers = new Map<string, Handler>();
  /** Cuts the connection when so many more objects went either way. */
  cutAfter = Number.POSITIVE_INFINITY;
  pageLimit = 200;
  /** The user's own: connections are subscribed to them from the welcome on. */
  readonly groups = new Set<string>();
  welcomes = true;
  readonly sent = new Map<string, Obj>();

  get last(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  get open(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.alive);
  }

  connect(options: Partial<Options> = {}): Hearth {
    const server = this;
    const webSocket = class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(server, url, protocols);
      }
    };
    return connect({ url: 'http://fake', token: () => 'token', webSocket, ...options });
  }

  log(group: string): Message[] {
    let log = this.logs.get(group);
    if (!log) {
      log = [];
      this.logs.set(group, log);
    }
    return log;
  }

  /** Stores a message and pushes it. Seqs that are skipped are a hole. */
  say(group: string, text: string, more: Obj = {}): Message {
    const log = this.log(group);
    const prev = log.at(-1)?.seq ?? 0;
    const message = {
      group,
      seq: prev + 1,
      time_ms: Date.now(),
      from: 'bob',
      body: [{ type: 'text', text }],
      ...more,
    } as Message;
    log.push(message);
    const event: Obj = { event: 'message', ...message };
    if (message.seq !== prev + 1) event.prev_seq = prev;
    for (const socket of this.open) if (socket.subscribed.has(group)) socket.write(event);
    return message;
  }

  recall(group: string, seq: number): void {
    const log = this.log(group);
    const at = log.findIndex((m) => m.seq === seq);
    const { body: _, ...rest } = log[at]!;
    const time_ms = Date.now();
    log[at] = { ...rest, recalled_ms: time_ms, recalled_by: 'bob' } as Message;
    this.recalled.push({ group, seq, time_ms });
    for (const socket of this.open) {
      if (socket.subscribed.has(group)) socket.write({ event: 'recall', group, seq, by: 'bob', time_ms });
    }
  }

  page(group: string, after: number, limit: number): Obj {
    const log = this.log(group);
    const max_seq = log.at(-1)?.seq ?? 0;
    const all = log.filter((m) => m.seq > after);
    const messages = all.slice(0, Math.min(limit, this.pageLimit));
    const more = messages.length < all.length;
    const end = more ? messages.at(-1)!.seq : max_seq;
    const holes: Obj[] = [];
    const seqs = new Set(log.map((m) => m.seq));
    for (let seq = after + 1; seq <= end; seq++) {
      if (seqs.has(seq)) continue;
      const hole = holes.at(-1);
      if (hole?.to === seq - 1) hole.to = seq;
      else holes.push({ from: seq, to: seq, reason: 'lost' });
    }
    return { group, max_seq, messages, holes, more };
  }

  answer(request: Obj, socket: FakeSocket): Obj | undefined {
    const handler = this.handlers.get(request.op);
    const special = handler?.(request, socket);
    if (handler && special !== null) return special;
    switch (request.op) {
      case 'ping':
        return { ok: { time_ms: Date.now() } };
      case 'subscribe': {
        socket.subscribed.add(request.group);
        const page = this.page(request.group, request.after_seq ?? Number.MAX_SAFE_INTEGER, request.limit ?? 50);
        if (request.recalled_after_ms !== undefined) {
          page.recalled = this.recalled
            .filter(
              (r) => r.group === request.group && r.seq <= request.after_seq && r.time_ms > request.recalled_after_ms,
            )
            .map((r) => r.seq);
        }
        return { ok: { ...page, role: 'member', read_seq: 0, unread: 0, persisted_seq: 0 } };
      }
      case 'pull': {
        const log = this.log(request.group).filter((m) => m.seq < (request.before_seq ?? Number.MAX_SAFE_INTEGER));
        const limit = request.limit ?? 50;
        return {
          ok: {
            group: request.group,
            max_seq: log.at(-1)?.seq ?? 0,
            min_seq: 1,
            messages: log.slice(-limit),
            holes: [],
            more: log.length > limit,
          },
        };
      }
      case 'send': {
        const group = request.group ?? `dm:me:${request.to}`;
        const known = this.sent.get(request.client_id);
        if (known) return { ok: { ...known, duplicate: true } };
        const more = { client_id: request.client_id, from: 'me', body: request.body };
        const { seq, time_ms } = this.say(group, '', more);
        const receipt = { group, seq, time_ms, duplicate: false, durable: false, persisted_seq: 0 };
        this.sent.set(request.client_id, receipt);
        return { ok: receipt };
      }
      case 'read':
        return { ok: { group: request.group, read_seq: request.seq, unread: 0 } };
      default:
        return { ok: {} };
    }
  }

  /** Whether an object still gets through. */
  passes(socket: FakeSocket): boolean {
    if (this.cutAfter-- > 0) return true;
    this.cutAfter = Number.POSITIVE_INFINITY;
    socket.cut();
    return false;
  }
}

export class FakeSocket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;
  onerror: (() => void) | null = null;
  readonly subscribed = new Set<string>();
  alive = true;
  /** Says nothing any more, and does not say that it is closed. */
  silent = false;

  constructor(
    readonly server: FakeServer,
    readonly url: string,
    readonly protocols: string[],
  ) {
    // As real ones do.
    if (protocols.some((name) => !/^[\x21-\x7e]+$/.test(name))) throw new SyntaxError('not a subprotocol');
    server.sockets.push(this);
    if (!server.welcomes) return;
    for (const group of server.groups) this.subscribed.add(group);
    this.write({
      event: 'welcome',
      conn: `c${server.sockets.length}`,
      user: 'me',
      instance: 'fake',
      time_ms: Date.now(),
      ping_interval_ms: 25_000,
      subscribed: 0,
      subscribed_all: true,
      limits: { message_bytes: 12_288, page: 200 },
    });
  }

  send(frame: string): void {
    if (!this.alive) throw new Error('not open');
    for (const line of frame.split('\n')) {
      const request = JSON.parse(line);
      setTimeout(() => {
        if (!this.alive || this.silent || !this.server.passes(this)) return;
        this.server.requests.push(request);
        const answer = this.server.answer(request, this);
        if (answer) this.write({ id: request.id, ...answer });
      }, LATENCY_MS);
    }
  }

  close(): void {
    this.alive = false;
  }

  /** What is said here comes in this order. */
  write(...objects: Obj[]): void {
    this.raw(objects.map((o) => JSON.stringify(o)).join('\n'));
  }

  raw(frame: string): void {
    setTimeout(() => {
      if (!this.alive || this.silent || !this.server.passes(this)) return;
      this.onmessage?.({ data: frame });
    }, LATENCY_MS);
  }

  cut(code = 1006, reason = ''): void {
    if (!this.alive) return;
    this.alive = false;
    this.onclose?.({ code, reason });
  }
}

export function refused(code: string, retryable = false, more: Obj = {}): Obj {
  return { error: { code, message: 'no', retryable, ...more } };
}

/** Numbers from..to. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** What is thrown meanwhile where nobody catches it. */
export async function thrownDuring(run: () => Promise<unknown>): Promise<unknown[]> {
  const thrown: unknown[] = [];
  const note = (e: unknown) => thrown.push(e);
  const usual = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', note);
  try {
    await run();
  } finally {
    process.off('uncaughtException', note);
    for (const listener of usual) process.on('uncaughtException', listener);
  }
  return thrown;
}
