import type { Unread } from './conversations';
import type { Hearth } from './hearth';
import { FROM_HERE, Reader, type ReaderHooks, safely } from './reader';
import { watchReaders } from './receipts';
import type { Pending, SendOptions, Target } from './sender';
import { Stream } from './stream';
import type { Body, Events, Message, PulledPage, Readers, ReadMark, SyncedPage } from './types';
import { Typing } from './typing';

export interface StreamOptions extends Omit<ReaderHooks, 'onMessage' | 'onError'> {
  /**
   * Begin behind this seq; 0 is the whole history. Without it: behind the seq in the storage, else with what comes from
   * now on.
   */
  after?: number;
  /** The time, by the server's clock, up to which the app knows of recalls of what it has; goes with `after`. */
  recalledAfterMs?: number;
}

export interface FollowOptions extends StreamOptions, ReaderHooks {}

export interface HistoryOptions {
  /** Begin below this seq, else with the newest message. */
  before?: number;
  /** Begin with what was sent before this time. */
  beforeMs?: number;
  /** Messages a page, 1 to 200. */
  limit?: number;
}

type GroupEvent = 'durable' | 'recall' | 'signal' | 'read' | 'group' | 'message';

/** A room, a group or a direct conversation. */
export class Group {
  protected readonly hearth: Hearth;
  protected readonly target: Target;
  readonly #typing: Typing;
  #wantedMark = 0;
  #marking: Promise<ReadMark> | undefined;

  /** @internal */
  constructor(hearth: Hearth, target: Target) {
    this.hearth = hearth;
    this.target = target;
    this.#typing = new Typing(this);
  }

  /** The group's id. That of a direct conversation is known with the first connection, if connect was not told the user. */
  get id(): string {
    if ('group' in this.target) return this.target.group;
    const user = this.hearth.user;
    if (user === undefined) throw new Error('the id of a direct conversation is known when connected');
    return directId(user, this.target.to);
  }

  /** The id, as soon as it is known. */
  async ready(): Promise<string> {
    if ('to' in this.target && this.hearth.user === undefined) await this.hearth.online();
    return this.id;
  }

  /**
   * The messages, in order, none missing, none twice, over any number of connections. Leaving the loop ends it. It throws
   * when the group may not be read (any more) or the client has ended.
   */
  messages(options: StreamOptions = {}): AsyncIterableIterator<Message> {
    let room = () => {};
    const stream: Stream = new Stream(
      (handled) => {
        if (handled) this.hearth.handled(handled.group, handled.seq);
        if (stream.hasRoom) room();
      },
      () => stop(),
    );
    const stop = this.#follow(
      options,
      stream.hooks(options),
      () => stream.full,
      (drained) => {
        room = drained;
      },
    );
    return stream;
  }

  /** The same with callbacks. Returns what ends it. */
  follow(options: FollowOptions): () => void {
    const hooks: ReaderHooks = {
      ...options,
      onMessage: (message) => {
        safely(() => options.onMessage?.(message));
        this.hearth.handled(message.group, message.seq);
      },
    };
    return this.#follow(
      options,
      hooks,
      () => false,
      () => {},
    );
  }

  #follow(
    options: StreamOptions,
    hooks: ReaderHooks,
    full: () => boolean,
    room: (drained: () => void) => void,
  ): () => void {
    let stopped = false;
    let stop = () => {};
    const start = async () => {
      const id = await this.ready();
      const stored = options.after === undefined ? await this.hearth.stored(id) : undefined;
      if (stopped) return;
      const begin = (seq: number) => this.hearth.handled(id, seq);
      const reader = new Reader(options.after ?? stored?.seq ?? FROM_HERE, hooks, full, begin);
      room(() => this.hearth.feeds.drained(id, reader));
      stop = () => this.hearth.feeds.remove(id, reader);
      this.hearth.follow(id, reader, {
        patient: id.startsWith('dm:'),
        recalledAfterMs: options.recalledAfterMs ?? stored?.seenMs,
      });
    };
    start().catch((error) => stopped || hooks.onError?.(error));
    return () => {
      stopped = true;
      stop();
    };
  }

  /**
   * Sends a text or a body. It is repeated with the same client_id, over other connections too, until the server has said
   * yes or a no that stays; messages of one group go in the order of the calls. After nine minutes without a word about
   * an attempt that may have got there it fails with `uncertain` rather than be sent twice.
   */
  send(body: string | Body, options: SendOptions = {}): Pending {
    const elements: Body = typeof body === 'string' ? [{ type: 'text', text: body }] : body;
    this.#typing.sent();
    return this.hearth.send(this.target, elements, options, this.#knownId());
  }

  /** One page of what was before, ascending. */
  async page({ before, beforeMs, limit }: HistoryOptions = {}): Promise<PulledPage> {
    return this.hearth.call('pull', { group: await this.ready(), before_seq: before, before_ms: beforeMs, limit });
  }

  /** All of what was before, page by page, the newest first. */
  async *history(options: HistoryOptions = {}): AsyncGenerator<PulledPage, void, undefined> {
    let page = await this.page(options);
    for (;;) {
      yield page;
      const before = page.messages[0]?.seq ?? page.holes[0]?.from;
      if (!page.more || before === undefined) return;
      page = await this.page({ before, limit: options.limit });
    }
  }

  /** How far the group and the user are: max_seq, read_seq, unread, persisted_seq. */
  async head(): Promise<SyncedPage> {
    const group = await this.ready();
    const [result] = await this.hearth.heads([group]);
    if (!result || result.error) throw this.hearth.error(result?.error);
    return result;
  }

  /** Moves the user's read mark forward. Calls while one is on its way become one. */
  markRead(seq: number): Promise<ReadMark> {
    this.#wantedMark = Math.max(this.#wantedMark, seq);
    this.#marking ??= this.#mark();
    return this.#marking;
  }

  async #mark(): Promise<ReadMark> {
    try {
      const group = await this.ready();
      for (;;) {
        const seq = this.#wantedMark;
        const mark = await this.hearth.call('read', { group, seq });
        this.hearth.marked(mark);
        if (this.#wantedMark === seq) return mark;
      }
    } finally {
      this.#marking = undefined;
      this.#wantedMark = 0;
    }
  }

  /** Calls with what is unread here, as it changes; of a room while it is read, and at every connect. Returns what ends it. */
  watchUnread(listener: (unread: Unread) => void): () => void {
    return this.#withId((id) => this.hearth.watchUnread(id, listener));
  }

  /** Who has read a message. */
  async readers(seq: number): Promise<Readers> {
    return this.hearth.http('GET', `/groups/${encodeURIComponent(await this.ready())}/readers?seq=${seq}`);
  }

  /** Calls with who has read a message, as it changes; in groups of over a hundred at every connect. Returns what ends it. */
  watchReaders(message: Pick<Message, 'seq' | 'from'>, listener: (readers: Readers) => void): () => void {
    return watchReaders(this, message, (ask) => this.hearth.on('welcome', ask), listener);
  }

  /** Starts what needs the id, unless it is ended before. */
  #withId(start: (id: string) => () => void): () => void {
    let ended = false;
    let end = () => {};
    this.ready().then(
      (id) => {
        if (!ended) end = start(id);
      },
      () => {}, // the client has ended
    );
    return () => {
      ended = true;
      end();
    };
  }

  /** Takes a message back. */
  async recall(seq: number): Promise<void> {
    await this.hearth.call('recall', { group: await this.ready(), seq });
  }

  /** Says something to who is subscribed now; it is not stored, and not repeated. */
  async signal(kind: string, data?: unknown): Promise<void> {
    await this.hearth.request('signal', { ...this.target, kind, data });
  }

  /** To be called at every key: tells the others, not too often, that the user types. */
  typing(): void {
    this.#typing.typed();
  }

  /** Calls with the users who type now, whenever that changes. Returns what ends it. */
  onTyping(listener: (users: string[]) => void): () => void {
    return this.#typing.on(listener);
  }

  /**
   * An event of this group as it comes: receipts are `read`. Those that came while there was no connection are not
   * repeated; messages are better read with `messages`.
   */
  on<N extends GroupEvent>(name: N, listener: (event: Events[N]) => void): () => void {
    return this.hearth.on(name, (event: Events[N]) => {
      if (event.group === this.#knownId()) listener(event);
    });
  }

  /** @internal */
  get user(): string | undefined {
    return this.hearth.user;
  }

  /** @internal */
  get connected(): boolean {
    return this.hearth.state === 'online';
  }

  #knownId(): string | undefined {
    return 'to' in this.target && this.hearth.user === undefined ? undefined : this.id;
  }
}

/** The id of the conversation of two users. */
export function directId(a: string, b: string): string {
  return a < b ? `dm:${a}:${b}` : `dm:${b}:${a}`;
}
