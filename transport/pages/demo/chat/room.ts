// A room that is read: its timeline, its numbers, and who does what in it.

import { signal } from '@preact/signals';
import type { Body, Group, Hearth, Hole, Message, SubscribedPage } from 'hearth-chat';
import { type Entry, entryOf, entryOfHole, explain, lowest, MAX_ENTRIES, merge, noteBehind, recall } from './timeline';
import { catchUpText } from './words';

const PAGE = 50;
const SLOW_MS = 1000; // a message, for the slow reader
const READ_MS = 1500; // between read marks: one for each message would fill the frames

/** What the user wrote, until it is there as a message. */
export interface Draft {
  clientId: string;
  body: Body;
  mentions: string[];
  seq?: number;
  error?: string;
}

/** What the SDK handed out and a slow reader has not taken yet. */
type Item = { message: Message; missed: boolean } | { hole: Hole } | { note: string; behind: number };

export class Room {
  readonly entries = signal<readonly Entry[]>([]);
  readonly drafts = signal<readonly Draft[]>([]);
  readonly unread = signal(0);
  readonly typing = signal<string[]>([]);
  /** How far each user has read, as far as it was told. */
  readonly marks = signal<ReadonlyMap<string, number>>(new Map());
  /** The last seq that was taken: the one number that a client has to keep. */
  readonly position = signal(0);
  /** The highest seq that the page knows of. */
  readonly maxSeq = signal(0);
  readonly more = signal(false);
  readonly loaded = signal(false);
  readonly trouble = signal('');
  private readonly group: Group;
  /** Whose name was clicked last; an object of its own for every click. */
  readonly mentioned = signal<{ name: string }>({ name: '' });
  /** How many messages a slow reader has not taken yet. */
  readonly waiting = signal(0);
  #watched = false; // somebody looks
  #slow = false;
  #queue: Item[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #readTimer: ReturnType<typeof setTimeout> | undefined;
  #ends: (() => void)[] = [];
  #away: { after: number; at: number; lost: number; movedTo?: string } | undefined;
  #instance = '';
  #arrived = 0; // the last seq that the SDK handed out
  #live = false;
  #outside = false; // read without being a member
  #markSent = 0;
  #notes = 0;
  #most = MAX_ENTRIES; // and whatever older ones were asked for
  #over = false;

  constructor(
    readonly id: string,
    private readonly me: string,
    instance: string,
    private readonly hearth: Hearth,
    private readonly caughtUp: () => void,
  ) {
    this.group = hearth.group(id);
    this.#instance = instance;
    void this.#open();
  }

  /** The newest page, and from there on whatever comes. */
  async #open(): Promise<void> {
    let after = 0;
    try {
      const page = await this.group.page({ limit: PAGE });
      after = page.max_seq;
      this.#arrived = after;
      this.#show([...page.messages.map((m) => entryOf(m)), ...page.holes.map(entryOfHole)]);
      this.position.value = after;
      this.maxSeq.value = after;
      this.more.value = page.more;
    } catch {
      // It is not there yet: the first one to subscribe makes it, or is told why not.
    }
    if (this.#over) return;
    this.loaded.value = true;
    this.#ends = [
      this.group.follow({
        after,
        onMessage: (message) => this.#message(message),
        onHole: (hole) => this.#hole(hole),
        onRecall: ({ seq, by, time_ms }) => this.#recalled(seq, by ?? 'somebody', time_ms ?? Date.now()),
        onLive: (page) => this.#caughtUp(page),
        onError: (error) => {
          this.trouble.value = error.message;
        },
      }),
      this.group.watchUnread(({ unread }) => {
        this.unread.value = unread;
        this.#readSoon();
      }),
      this.hearth.on('welcome', ({ instance }) => this.#arrivedAt(instance)),
      this.hearth.on('resync', ({ groups }) => {
        if (groups.some(({ group }) => group === this.id)) this.lost();
      }),
      this.group.on('read', ({ user, seq }) => this.#marked(user, seq)),
      this.group.onTyping((users) => {
        this.typing.value = users.filter((user) => user !== this.me);
      }),
    ];
  }

  end(): void {
    this.#over = true;
    for (const end of this.#ends) end();
    clearTimeout(this.#timer);
    clearTimeout(this.#readTimer);
  }

  #arrivedAt(instance: string): void {
    if (this.#away && this.#instance !== '' && instance !== this.#instance) this.#away.movedTo = instance;
    this.#instance = instance;
  }

  /** The connection is gone, or the server has given up on pushing to it. */
  lost(): void {
    if (!this.#live) return;
    this.#live = false;
    this.#away = { after: this.#arrived, at: Date.now(), lost: 0 };
    this.typing.value = [];
  }

  /** Somebody looks, or does not any more. */
  watch(watched: boolean): void {
    if (watched === this.#watched) return;
    if (!watched) void this.#read(); // what he has seen up to now
    this.#watched = watched;
    if (watched) this.#readSoon();
  }

  /** A slow reader takes one message a second; the others wait, in order. */
  slow(slow: boolean): void {
    this.#slow = slow;
    this.#take();
  }

  async older(): Promise<void> {
    const before = lowest(this.entries.value);
    if (before === undefined) return;
    const page = await this.group.page({ before, limit: PAGE });
    this.#most = Math.max(this.#most, this.entries.value.length + page.messages.length + page.holes.length);
    this.#show([...page.messages.map((m) => entryOf(m)), ...page.holes.map(entryOfHole)]);
    this.more.value = page.more;
  }

  send(body: Body, mentions: string[] = []): Promise<number | undefined> {
    const sent = this.group.send(body, mentions.length > 0 ? { mentions } : {});
    return this.#follow({ clientId: sent.clientId, body, mentions }, sent);
  }

  /** The same message once more: with its client_id it is stored once, whatever became of the first try. */
  retry(draft: Draft): void {
    const { clientId, body, mentions } = draft;
    this.#drop(clientId);
    void this.#follow({ clientId, body, mentions }, this.group.send(body, { clientId, mentions }));
  }

  recall(seq: number): Promise<void> {
    return this.group.recall(seq);
  }

  mention(name: string): void {
    this.mentioned.value = { name };
  }

  typed(): void {
    this.group.typing();
  }

  /** The users who are known to have read a message, without its sender. */
  readersOf({ seq, from }: Message): string[] {
    return [...this.marks.value].filter(([user, mark]) => mark >= seq && user !== from).map(([user]) => user);
  }

  async #follow(draft: Draft, sent: Promise<{ seq: number }>): Promise<number | undefined> {
    this.drafts.value = [...this.drafts.value, draft];
    try {
      const { seq } = await sent;
      this.maxSeq.value = Math.max(this.maxSeq.value, seq);
      if (this.position.value >= seq) this.#drop(draft.clientId);
      else this.#change(draft.clientId, { seq });
      void this.#join();
      return seq;
    } catch (error) {
      this.#change(draft.clientId, { error: (error as Error).message });
      return undefined;
    }
  }

  #change(clientId: string, change: Partial<Draft>): void {
    this.drafts.value = this.drafts.value.map((d) => (d.clientId === clientId ? { ...d, ...change } : d));
  }

  #drop(clientId: string): void {
    this.drafts.value = this.drafts.value.filter((draft) => draft.clientId !== clientId);
  }

  #message(message: Message): void {
    this.#arrived = message.seq;
    this.maxSeq.value = Math.max(this.maxSeq.value, message.seq);
    this.#put({ message, missed: this.#away !== undefined });
  }

  #hole(hole: Hole): void {
    this.#arrived = Math.max(this.#arrived, hole.to);
    if (this.#away) this.#away.lost += hole.to - hole.from + 1;
    this.#put({ hole });
    if (!hole.reason) void this.#askReason(hole);
  }

  /** A push tells of a hole, but not why it is there. */
  async #askReason({ from }: Hole): Promise<void> {
    try {
      const { holes } = await this.hearth.call('pull', { group: this.id, after_seq: from - 1, limit: 1 });
      this.#take(true); // the hole may wait for a slow reader
      this.entries.value = explain(this.entries.value, holes);
    } catch {
      // It is shown without.
    }
  }

  #caughtUp(page: SubscribedPage): void {
    this.#live = true;
    this.#arrived = Math.max(this.#arrived, page.max_seq);
    this.maxSeq.value = Math.max(this.maxSeq.value, page.max_seq);
    if (this.#away) {
      const { at, ...away } = this.#away;
      this.#away = undefined;
      const note = catchUpText({ ...away, ms: Date.now() - at, maxSeq: page.max_seq });
      this.#put({ note, behind: page.max_seq });
      if (page.max_seq > away.after) this.caughtUp();
    }
    this.#outside = page.role === null;
    void this.#askReaders();
    this.#readSoon();
  }

  /** Who has read the user's last message while this page was not there to hear of it. */
  async #askReaders(): Promise<void> {
    const own = this.entries.value.findLast((entry) => entry.kind === 'message' && entry.message.from === this.me);
    if (!own) return;
    try {
      const { users = [] } = await this.group.readers(own.at);
      for (const user of users) this.#marked(user, own.at);
    } catch {
      // It was taken back, or the connection is gone again.
    }
  }

  /** Who has spoken belongs here: the room is among his own, and what he has read is told. Looking around takes no joining. */
  async #join(): Promise<void> {
    if (!this.#outside) return;
    this.#outside = false;
    try {
      await this.hearth.http('POST', `/groups/${encodeURIComponent(this.id)}/join`);
    } catch {
      this.#outside = true; // he speaks all the same
    }
  }

  #recalled(seq: number, by: string, timeMs: number): void {
    this.#take(true); // whatever of it waits must not be shown afterwards
    this.entries.value = recall(this.entries.value, seq, by, timeMs);
  }

  #marked(user: string, seq: number): void {
    if ((this.marks.value.get(user) ?? 0) >= seq) return;
    this.marks.value = new Map(this.marks.value).set(user, seq);
  }

  #put(item: Item): void {
    this.#queue.push(item);
    this.waiting.value = this.#queue.length;
    if (!this.#timer) this.#take();
  }

  /** Takes what waits: all of it, or one thing and the next in a second. */
  #take(all = !this.#slow): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const items = this.#queue.splice(0, all ? this.#queue.length : 1);
    this.#show(items.map((item) => this.#entry(item)));
    this.waiting.value = this.#queue.length;
    if (this.#slow) this.#timer = setTimeout(() => this.#next(), SLOW_MS);
    this.#readSoon();
  }

  #next(): void {
    this.#timer = undefined;
    if (this.#queue.length > 0) this.#take();
  }

  #entry(item: Item): Entry {
    if ('note' in item) return noteBehind(item.behind, ++this.#notes, item.note);
    if ('hole' in item) {
      this.#moved(item.hole.to);
      return entryOfHole(item.hole);
    }
    const { message, missed } = item;
    this.#moved(message.seq);
    if (message.from === this.me && message.client_id !== undefined) this.#drop(message.client_id);
    return entryOf(message, missed);
  }

  #moved(seq: number): void {
    this.position.value = Math.max(this.position.value, seq);
  }

  /** Whoever writes has read what is before it: that is how the server sees it. */
  #show(entries: Entry[]): void {
    if (entries.length === 0) return;
    const before = lowest(this.entries.value);
    this.entries.value = merge(this.entries.value, entries, this.#most);
    if (before !== undefined && lowest(this.entries.value)! > before) this.more.value = true; // the oldest gave way
    for (const entry of entries) if (entry.kind === 'message') this.#marked(entry.message.from, entry.message.seq);
  }

  #readSoon(): void {
    if (!this.#watched || this.#readTimer || this.unread.value === 0) return;
    this.#readTimer = setTimeout(() => {
      this.#readTimer = undefined;
      void this.#read();
    }, READ_MS);
  }

  async #read(): Promise<void> {
    const seq = this.position.value;
    if (!this.#watched || seq <= this.#markSent || !this.#live) return;
    this.#markSent = seq;
    try {
      await this.group.markRead(seq);
    } catch {
      this.#markSent = 0; // with the next message
    }
  }
}
