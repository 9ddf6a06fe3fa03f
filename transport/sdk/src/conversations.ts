import { safely } from './reader';
import type { Conversation, Events, Message, ReadMark, ServerEvent, SyncedPage, SyncRefused } from './types';

/** How far a group is, and the user in it. */
export interface Unread {
  group: string;
  max_seq: number;
  read_seq: number;
  unread: number;
  /** The highest unread seq that mentions the user or everybody. */
  mentioned_seq?: number;
}

export interface ConversationsHost {
  conversations(): Promise<Conversation[]>;
  heads(groups: string[]): Promise<(SyncedPage | SyncRefused)[]>;
  readonly user: string | undefined;
}

interface Line {
  value: Unread | Conversation;
  rank: number; // higher is later
}

const MOST_HEADS = 200; // that one sync takes

/**
 * What is unread, as it changes. It is counted here from what is pushed, and asked for where that does not tell: on every
 * connection, and when the user has read a part of a group.
 */
export class Conversations {
  readonly #host: ConversationsHost;
  readonly #lines = new Map<string, Line>();
  readonly #listWatchers = new Set<(list: Conversation[]) => void>();
  readonly #groupWatchers = new Map<string, Set<(unread: Unread) => void>>();
  #rank = 0;
  #online = false;
  #listed = false;
  // What is to be asked for.
  #listDue = false;
  readonly #headsDue = new Set<string>();
  // What came since the question under way; the answer may be from before it.
  #heard: ServerEvent[] | undefined;
  // What is to be told.
  readonly #changed = new Set<string>();
  #telling = false;

  constructor(host: ConversationsHost) {
    this.#host = host;
  }

  watchList(watcher: (list: Conversation[]) => void): () => void {
    const own = (list: Conversation[]) => watcher(list);
    this.#listWatchers.add(own);
    if (this.#listed) queueMicrotask(() => this.#listWatchers.has(own) && safely(() => own(this.#list())));
    else this.#listDue = true;
    void this.#ask();
    return () => {
      if (!this.#listWatchers.delete(own) || this.#listWatchers.size > 0) return;
      this.#listed = false;
      this.#listDue = false;
      for (const group of [...this.#lines.keys()]) this.#forget(group);
    };
  }

  watchGroup(group: string, watcher: (unread: Unread) => void): () => void {
    const own = (unread: Unread) => watcher(unread);
    const watchers = this.#groupWatchers.get(group) ?? new Set();
    this.#groupWatchers.set(group, watchers.add(own));
    const line = this.#lines.get(group);
    if (line) queueMicrotask(() => watchers.has(own) && safely(() => own(line.value)));
    else this.#headsDue.add(group);
    void this.#ask();
    return () => {
      if (!watchers.delete(own) || watchers.size > 0) return;
      this.#groupWatchers.delete(group);
      const line = this.#lines.get(group);
      if (line && !('type' in line.value)) this.#lines.delete(group); // nobody keeps it up to date
    };
  }

  welcome(): void {
    this.#online = true;
    this.#all();
  }

  lost(): void {
    this.#online = false;
  }

  event(event: ServerEvent): void {
    if (this.#listWatchers.size === 0 && this.#groupWatchers.size === 0) return;
    this.#heard?.push(event);
    this.#apply(event);
    void this.#ask();
  }

  /** The user has read here: that is told to his other connections only. */
  marked({ group, read_seq: seq }: ReadMark): void {
    const { user } = this.#host;
    if (user !== undefined) this.event({ event: 'read', group, user, seq });
  }

  #all(): void {
    this.#listDue = this.#listWatchers.size > 0;
    for (const group of this.#groupWatchers.keys()) this.#headsDue.add(group);
    void this.#ask();
  }

  #apply(event: ServerEvent): void {
    switch (event.event) {
      case 'message':
        this.#message(event);
        break;
      case 'read':
        if (event.user === this.#host.user) this.#read(event.group, event.seq);
        break;
      case 'recall':
        this.#recalled(event);
        break;
      case 'group':
        this.#groupChanged(event);
        break;
      case 'resync':
        this.#all();
        break;
    }
  }

  #message({ prev_seq: _, ...event }: Events['message']): void {
    const { event: __, ...message } = event as Message & { event?: string };
    const { group, seq, from } = message;
    const line = this.#lines.get(group);
    if (!line) {
      if (this.#groupWatchers.has(group)) this.#headsDue.add(group);
      if (this.#listWatchers.size > 0 && group.startsWith('dm:')) this.#listDue = true; // the first one there
      return;
    }
    if (seq <= line.value.max_seq) return;
    const { user } = this.#host;
    const value = { ...line.value, max_seq: seq };
    if ('type' in value) value.last_message = message as Message;
    const mentions = message.mentions?.some((m) => m === user || m === '*');
    if (from === user && message.operator === undefined) {
      value.read_seq = seq;
      value.unread = 0;
      value.mentioned_seq = undefined;
    } else {
      value.unread++;
      if (mentions) value.mentioned_seq = seq;
    }
    this.#put(value, ++this.#rank);
  }

  #read(group: string, seq: number): void {
    const line = this.#lines.get(group);
    if (!line || seq <= line.value.read_seq) return;
    if (seq < line.value.max_seq) this.#headsDue.add(group);
    else this.#put(readUpTo({ ...line.value, unread: 0 }, seq), line.rank);
  }

  #recalled({ group, seq, by, time_ms }: Events['recall']): void {
    const line = this.#lines.get(group);
    if (!line || !('type' in line.value) || line.value.last_message?.seq !== seq) return;
    const { body: _, ...rest } = line.value.last_message;
    const last_message = { ...rest, recalled_ms: time_ms, recalled_by: by } as Message;
    this.#put({ ...line.value, last_message }, line.rank);
  }

  #groupChanged({ group, change, user }: Events['group']): void {
    const mine = user === undefined || user === this.#host.user;
    const gone = change === 'dismissed' || (mine && (change === 'left' || change === 'removed'));
    const come = mine && (change === 'created' || change === 'joined');
    if (!gone && !come && change !== 'updated') return;
    this.#listDue = this.#listWatchers.size > 0;
    if (this.#groupWatchers.has(group)) this.#headsDue.add(group);
  }

  /** One question at a time, until nothing is due. */
  async #ask(): Promise<void> {
    while (this.#online && !this.#heard && (this.#listDue || this.#headsDue.size > 0)) {
      this.#heard = [];
      try {
        if (this.#listDue) {
          this.#listDue = false;
          this.#setList(await this.#host.conversations());
        } else {
          const groups = [...this.#headsDue].slice(0, MOST_HEADS);
          for (const group of groups) this.#headsDue.delete(group);
          for (const head of await this.#host.heads(groups)) this.#setHead(head);
        }
      } catch {
        // The client has ended, or a server has none of this.
      }
      const heard: ServerEvent[] = this.#heard;
      this.#heard = undefined;
      for (const event of heard) this.#apply(event);
    }
  }

  #setList(list: Conversation[]): void {
    if (this.#listWatchers.size === 0) return;
    this.#listed = true;
    const groups = new Set(list.map(({ group }) => group));
    for (const group of [...this.#lines.keys()]) if (!groups.has(group)) this.#forget(group);
    this.#rank += list.length;
    for (const [i, conversation] of list.entries()) this.#put(conversation, this.#rank - i);
    this.#tellSoon();
  }

  #setHead(head: SyncedPage | SyncRefused): void {
    if (head.error) return;
    const { group, max_seq, read_seq, unread } = head;
    const line = this.#lines.get(group);
    if (!line && !this.#groupWatchers.has(group)) return;
    this.#put(readUpTo({ ...line?.value, group, max_seq, read_seq, unread }, read_seq), line?.rank ?? 0);
  }

  #put(value: Unread | Conversation, rank: number): void {
    this.#lines.set(value.group, { value, rank });
    this.#changed.add(value.group);
    this.#tellSoon();
  }

  /** It is no line of the list (any more). */
  #forget(group: string): void {
    const line = this.#lines.get(group);
    if (!line) return;
    this.#lines.delete(group);
    if (!this.#groupWatchers.has(group)) return;
    const { max_seq, read_seq, unread, mentioned_seq } = line.value;
    this.#lines.set(group, { value: { group, max_seq, read_seq, unread, mentioned_seq }, rank: 0 });
  }

  #tellSoon(): void {
    if (this.#telling) return;
    this.#telling = true;
    queueMicrotask(() => this.#tell()); // once for all that one frame brought
  }

  #tell(): void {
    this.#telling = false;
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const group of changed) {
      const line = this.#lines.get(group);
      for (const watcher of [...(this.#groupWatchers.get(group) ?? [])]) if (line) safely(() => watcher(line.value));
    }
    if (!this.#listed) return;
    const list = this.#list();
    for (const watcher of [...this.#listWatchers]) safely(() => watcher(list));
  }

  #list(): Conversation[] {
    const lines = [...this.#lines.values()].filter(({ value }) => 'type' in value);
    return lines.sort((a, b) => b.rank - a.rank).map(({ value }) => value as Conversation);
  }
}

function readUpTo<T extends Unread>(value: T, seq: number): T {
  const { mentioned_seq, ...rest } = value;
  const mention = mentioned_seq !== undefined && mentioned_seq > seq && { mentioned_seq };
  return { ...rest, ...mention, read_seq: seq } as T;
}
