import type { Hole, Message, SubscribedPage, Tombstone } from './types';

/** A message was recalled. Told once or more; `by` and `time_ms` are missing when it happened while this client was away. */
export interface Recall {
  group: string;
  seq: number;
  by?: string;
  time_ms?: number;
}

/** What a reader of a group is told. */
export interface ReaderHooks {
  /** Every message behind the start, once, in the order of seq. */
  onMessage?(message: Message): void;
  /** In its place among the messages: these seqs have none. */
  onHole?(hole: Hole): void;
  onRecall?(recall: Recall): void;
  /** More messages were recalled while this client was away than the server lists: pull again what is shown. */
  onRecallsLost?(): void;
  /**
   * Messages that the server had told as lost and has found again, among others that came before. Without it they are
   * not asked for.
   */
  onRepair?(message: Message): void;
  /** Caught up: after every connect and every repair. */
  onLive?(page: SubscribedPage): void;
  /** The group is not followed any more. Nobody is told without it. */
  onError?(error: Error): void;
}

/** The cursor of a reader that wants what comes from the subscription on. */
export const FROM_HERE = -1;

/** One reader of a group: every seq up to its cursor was handed out, or is a hole. */
export class Reader {
  /** Pushes were dropped because the reader was full. */
  behind = false;
  cursor: number;
  readonly #hooks: ReaderHooks;
  readonly #full: () => boolean;
  // While a repair goes on, rewound is where the next page starts, and messages up to repairTo go to onRepair.
  #rewound = 0;
  #repairTo = 0;
  // Recalls above the cursor: the page that has the message may have been read before.
  readonly #early = new Map<number, Recall>();

  readonly #begun: (seq: number) => void;

  /** `begun` is told where a reader begins that did not know. */
  constructor(after: number, hooks: ReaderHooks, full: () => boolean, begun: (seq: number) => void) {
    this.cursor = after;
    this.#hooks = hooks;
    this.#full = full;
    this.#begun = begun;
  }

  get full(): boolean {
    return this.#full();
  }

  /** Begins here, unless it has begun. */
  begin(seq: number): void {
    if (this.cursor !== FROM_HERE) return;
    this.cursor = seq;
    this.#begun(seq);
  }

  /** Where the next page starts. */
  get position(): number {
    return this.#repairTo > 0 ? this.#rewound : this.cursor;
  }

  /** A push; false when something before it is missing. */
  push(message: Message, prevSeq: number): boolean {
    if (this.cursor === FROM_HERE || message.seq <= this.cursor) return true;
    if (this.full) {
      this.behind = true;
      return true;
    }
    if (prevSeq > this.cursor) return false;
    if (this.cursor < message.seq - 1) this.#hole({ from: this.cursor + 1, to: message.seq - 1 });
    this.#handOut(message);
    return true;
  }

  /** A page that starts behind `after`. */
  page(after: number | undefined, page: SubscribedPage): void {
    if (this.cursor === FROM_HERE) {
      this.begin(page.max_seq);
      return;
    }
    if (after === undefined || this.position < after) return; // not this reader's
    if (this.full) {
      this.behind = true;
      for (const message of page.messages) if (message.seq <= this.cursor) this.#recalledMeanwhile(message);
      return;
    }
    let holes = page.holes;
    for (const message of page.messages) {
      holes = this.#holesBefore(holes, message.seq);
      this.#message(message);
    }
    if (page.more) return;
    this.#holesBefore(holes, Number.MAX_SAFE_INTEGER);
    this.cursor = Math.max(this.cursor, page.max_seq);
    this.#read(Number.MAX_SAFE_INTEGER);
  }

  /** Makes the next pages start below the cursor, for who wants repairs. */
  rewind(after: number): void {
    if (!this.#hooks.onRepair || after >= this.cursor) return;
    this.#rewound = this.#repairTo > 0 ? Math.min(after, this.#rewound) : after;
    this.#repairTo = this.cursor;
  }

  recall(recall: Recall): void {
    if (recall.seq <= this.cursor) this.#tell(() => this.#hooks.onRecall?.(recall));
    else if (this.cursor !== FROM_HERE) this.#early.set(recall.seq, recall);
  }

  recallsLost(): void {
    this.#tell(() => this.#hooks.onRecallsLost?.());
  }

  live(page: SubscribedPage): void {
    this.#tell(() => this.#hooks.onLive?.(page));
  }

  fail(error: Error): void {
    this.#tell(() => this.#hooks.onError?.(error));
  }

  #message(message: Message): void {
    if (message.seq > this.cursor) {
      this.#handOut(message);
    } else if (message.seq <= this.#repairTo) {
      this.#tell(() => this.#hooks.onRepair?.(message));
    } else {
      this.#recalledMeanwhile(message);
    }
    this.#read(message.seq);
  }

  /** Maybe recalled while nobody listened, and not listed: it is behind where the page of another reader starts. */
  #recalledMeanwhile({ group, seq, recalled_by: by, recalled_ms: time_ms }: Message): void {
    if (time_ms !== undefined) this.recall({ group, seq, by, time_ms });
  }

  #handOut(message: Message): void {
    this.cursor = message.seq;
    const recall = this.#early.get(message.seq);
    this.#early.delete(message.seq);
    const left = recall ? tombstone(message, recall) : message;
    this.#tell(() => this.#hooks.onMessage?.(left));
  }

  #read(seq: number): void {
    if (this.#repairTo === 0) return;
    this.#rewound = Math.max(this.#rewound, seq);
    if (this.#rewound >= this.#repairTo) {
      this.#rewound = 0;
      this.#repairTo = 0;
    }
  }

  /** Tells of the holes before seq that are above the cursor, and returns the others. */
  #holesBefore(holes: Hole[], seq: number): Hole[] {
    let n = 0;
    for (; n < holes.length && holes[n]!.from < seq; n++) {
      const hole = holes[n]!;
      const from = Math.max(hole.from, this.cursor + 1);
      if (from <= hole.to) this.#hole({ ...hole, from });
    }
    return holes.slice(n);
  }

  #hole(hole: Hole): void {
    this.#tell(() => this.#hooks.onHole?.(hole));
  }

  // A hook that throws is its owner's bug, to be seen as any other; the cursors are not to suffer.
  #tell(hook: () => void): void {
    safely(hook);
  }
}

/** What a recall leaves of a message. */
export function tombstone(message: Message, { by, time_ms }: Recall): Tombstone {
  if (!message.body) return message;
  const { body: _, ...rest } = message;
  return {
    ...rest,
    ...(time_ms !== undefined && { recalled_ms: time_ms }),
    ...(by !== undefined && { recalled_by: by }),
  };
}

/** Calls what is not ours; what it throws is thrown where nobody catches it. */
export function safely(call: () => void): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
