import { Backoff } from './backoff';
import type { Connection } from './connection';
import { type HearthError, isRetryable } from './error';
import { FROM_HERE, type Reader, type Recall } from './reader';
import type { Events, SubscribedPage } from './types';

const MAX_ASKED = 20; // subscribes under way at once
const DEFAULT_PAGE = 200;
// Recalls have no seq. What this client has surely seen of them lies this long before what it heard last.
const RECALL_MARGIN_MS = 60_000;

/**
 * How far a group has got on this connection: `idle` no connection; `due` waits for its turn to subscribe; `asked`
 * subscribe is under way; `waiting` for another attempt; `absent` a direct conversation nobody has written in; `live`
 * caught up.
 */
type Phase = 'idle' | 'due' | 'asked' | 'waiting' | 'absent' | 'live';

interface Request {
  after: number | undefined;
  recalls: boolean;
}

class Feed {
  readonly readers = new Set<Reader>();
  readonly backoff = new Backoff();
  phase: Phase = 'idle';
  request: Request | undefined; // while asked; compared by identity
  again = false; // once more: the server dropped the subscription, maybe behind what the reply covers
  timer: ReturnType<typeof setTimeout> | undefined;
  recallsAfterMs: number | undefined; // recalls since then are to be asked for
  outsider = false; // the user has not joined this room

  constructor(
    readonly id: string,
    readonly patient: boolean,
  ) {}

  /** Where the next page starts; undefined when all wait for what comes. */
  position(): number | undefined {
    let position: number | undefined;
    for (const reader of this.readers) {
      if (reader.full || reader.cursor === FROM_HERE) continue;
      position = Math.min(position ?? Number.MAX_SAFE_INTEGER, reader.position);
    }
    return position;
  }
}

/**
 * The groups that are read. A connection is subscribed to a group by subscribe with after_seq, page after page until
 * there is no more. Pushes are handed out whenever they fit behind a reader's cursor. One that does not fit while a page
 * is under way is dropped: the server wrote it before the page, so the page, or one behind it, has it. One that does not
 * fit in a live group makes the client subscribe again.
 */
export class Feeds {
  readonly #feeds = new Map<string, Feed>();
  readonly #seenMs: () => number | undefined;
  #connection: Connection | undefined;
  #page = DEFAULT_PAGE;
  #due: Feed[] = [];
  #asked = 0;

  /** `seenMs` is the latest time of the server that was heard of. */
  constructor(seenMs: () => number | undefined) {
    this.#seenMs = seenMs;
  }

  /** `patient` waits for a conversation that is not there yet. */
  add(
    group: string,
    reader: Reader,
    { patient = false, recalledAfterMs = undefined as number | undefined } = {},
  ): void {
    let feed = this.#feeds.get(group);
    if (!feed) {
      feed = new Feed(group, patient);
      this.#feeds.set(group, feed);
    }
    feed.readers.add(reader);
    if (recalledAfterMs !== undefined) this.#missedRecalls(feed, recalledAfterMs);
    if (feed.phase === 'asked') feed.again = true;
    else this.#catchUp(feed);
  }

  remove(group: string, reader: Reader): void {
    const feed = this.#feeds.get(group);
    if (!feed?.readers.delete(reader) || feed.readers.size > 0) return;
    this.#drop(feed);
    // Pushes of the user's own groups are for others, too.
    if (feed.outsider) this.#unsubscribe(group);
  }

  #unsubscribe(group: string): void {
    this.#connection?.ask('unsubscribe', { group }, () => {});
  }

  /** The reader has room again. */
  drained(group: string, reader: Reader): void {
    const feed = this.#feeds.get(group);
    if (!feed || !reader.behind) return;
    reader.behind = false;
    if (feed.phase === 'asked') feed.again = true;
    else this.#catchUp(feed);
  }

  welcome(connection: Connection, page: number): void {
    this.#connection = connection;
    this.#page = page || DEFAULT_PAGE;
    for (const feed of this.#feeds.values()) this.#catchUp(feed);
  }

  lost(): void {
    if (!this.#connection) return;
    this.#connection = undefined;
    this.#due = [];
    this.#asked = 0;
    for (const feed of this.#feeds.values()) {
      clearTimeout(feed.timer);
      feed.phase = 'idle';
      feed.request = undefined;
      feed.again = false;
      this.#missedRecalls(feed);
    }
  }

  end(error: Error): void {
    for (const feed of [...this.#feeds.values()]) this.#fail(feed, error);
  }

  message(message: Events['message']): void {
    const feed = this.#feeds.get(message.group);
    if (!feed) return;
    if (feed.phase === 'absent') this.#catchUp(feed);
    const { prev_seq: prevSeq = message.seq - 1, ...rest } = message;
    const { event: _, ...bare } = rest as typeof rest & { event?: string };
    let fits = true;
    for (const reader of [...feed.readers]) fits = reader.push(bare as typeof message, prevSeq) && fits;
    if (!fits && feed.phase === 'live') this.#catchUp(feed);
  }

  recall({ group, seq, by, time_ms }: Events['recall']): void {
    this.#recall(this.#feeds.get(group), { group, seq, by, time_ms });
  }

  resync({ groups }: Events['resync']): void {
    for (const { group, after_seq: after } of groups) {
      const feed = this.#feeds.get(group);
      if (!feed) continue;
      if (after !== undefined) for (const reader of feed.readers) reader.rewind(after);
      this.#missedRecalls(feed);
      this.#anew(feed);
    }
  }

  /** The subscription may have ended, or the group be there now: the server knows. */
  check(group: string): void {
    const feed = this.#feeds.get(group);
    if (feed) this.#anew(feed);
  }

  /** A direct conversation that is there now. */
  created(group: string): void {
    const feed = this.#feeds.get(group);
    if (feed?.phase === 'absent') this.#catchUp(feed);
  }

  /** The groups that have surely heard of every recall up to a time. */
  recallsKnown(): Map<string, number> {
    const known = new Map<string, number>();
    const seen = this.#surelySeen();
    if (seen === undefined) return known;
    for (const feed of this.#feeds.values()) {
      if (feed.phase === 'live' && feed.recallsAfterMs === undefined) known.set(feed.id, seen);
    }
    return known;
  }

  #surelySeen(): number | undefined {
    const seen = this.#seenMs();
    return seen === undefined ? undefined : Math.max(0, seen - RECALL_MARGIN_MS);
  }

  #anew(feed: Feed): void {
    if (feed.phase === 'asked') feed.again = true;
    else this.#catchUp(feed);
  }

  #missedRecalls(feed: Feed, since?: number): void {
    const from = since ?? this.#surelySeen();
    if (from !== undefined) feed.recallsAfterMs = Math.min(feed.recallsAfterMs ?? from, from);
  }

  #recall(feed: Feed | undefined, recall: Recall): void {
    for (const reader of [...(feed?.readers ?? [])]) reader.recall(recall);
  }

  /** Subscribes to a group, in its turn. */
  #catchUp(feed: Feed): void {
    if (!this.#connection || feed.phase === 'due' || feed.phase === 'asked' || feed.phase === 'waiting') return;
    feed.phase = 'due';
    this.#due.push(feed);
    this.#pump();
  }

  #pump(): void {
    while (this.#asked < MAX_ASKED && this.#due.length > 0) {
      const feed = this.#due.shift()!;
      if (feed.phase === 'due') this.#subscribe(feed);
    }
  }

  #subscribe(feed: Feed): void {
    const readers = [...feed.readers];
    for (const reader of readers) if (reader.full) reader.behind = true;
    if (readers.every((reader) => reader.full)) {
      feed.phase = 'live'; // as far as anybody can take
      return;
    }
    const after = feed.position();
    const recalls = after !== undefined && feed.recallsAfterMs !== undefined;
    const request: Request = { after, recalls };
    feed.phase = 'asked';
    feed.request = request;
    feed.again = false;
    this.#asked++;
    const fields = {
      group: feed.id,
      ...(after !== undefined && { after_seq: after, limit: this.#page }),
      ...(recalls && { recalled_after_ms: feed.recallsAfterMs }),
    };
    this.#connection!.ask('subscribe', fields, (error, page) => this.#subscribed(feed, request, error, page));
  }

  #subscribed(feed: Feed, request: Request, error: HearthError | undefined, page: SubscribedPage | undefined): void {
    if (feed.request !== request) {
      // Its connection is gone, or nobody wants it any more.
      if (page?.role === null && !this.#feeds.has(feed.id)) this.#unsubscribe(feed.id);
      return;
    }
    this.#asked--;
    feed.phase = 'idle';
    feed.request = undefined;
    if (page) this.#caughtUp(feed, request, page);
    else this.#refused(feed, request, error!);
    this.#pump();
  }

  #refused(feed: Feed, request: Request, error: HearthError): void {
    if (isRetryable(error)) {
      this.#later(feed, error.retryAfterMs ?? 0);
    } else if (error.code === 'too_large' && request.recalls) {
      feed.recallsAfterMs = undefined;
      for (const reader of [...feed.readers]) reader.recallsLost();
      this.#catchUp(feed);
    } else if (error.code === 'not_found' && feed.patient) {
      for (const reader of feed.readers) reader.begin(0);
      feed.phase = 'absent';
      if (feed.again) this.#catchUp(feed);
    } else {
      this.#fail(feed, error);
    }
  }

  #caughtUp(feed: Feed, { after, recalls }: Request, page: SubscribedPage): void {
    feed.outsider = page.role === null;
    if (recalls) {
      feed.recallsAfterMs = undefined;
      for (const seq of page.recalled ?? []) this.#recall(feed, { group: feed.id, seq });
    }
    const before = feed.position();
    for (const reader of [...feed.readers]) reader.page(after, page);
    if (feed.readers.size === 0) return; // a hook has ended the last one
    const position = feed.position();
    if (page.more && after !== undefined && before === after && position === before) {
      this.#later(feed, 0); // nothing in it: a server that is not ready
    } else if (page.more || feed.again || (position !== undefined && position < (after ?? page.max_seq))) {
      this.#catchUp(feed);
    } else {
      feed.phase = 'live';
      feed.backoff.reset();
      for (const reader of [...feed.readers]) reader.live(page);
    }
  }

  #later(feed: Feed, ms: number): void {
    feed.phase = 'waiting';
    feed.timer = setTimeout(
      () => {
        if (feed.phase !== 'waiting') return;
        feed.phase = 'idle';
        this.#catchUp(feed);
      },
      Math.max(ms, feed.backoff.next()),
    );
  }

  #fail(feed: Feed, error: Error): void {
    this.#drop(feed);
    for (const reader of [...feed.readers]) reader.fail(error);
    feed.readers.clear();
  }

  #drop(feed: Feed): void {
    this.#feeds.delete(feed.id);
    clearTimeout(feed.timer);
    if (feed.phase === 'asked') {
      this.#asked--;
      this.#pump();
    }
    feed.phase = 'idle';
    feed.request = undefined;
  }
}
