import { type ReaderHooks, type Recall, safely, tombstone } from './reader';
import type { Message } from './types';

const MOST_WAITING = 1000;

// Hermes, the engine of React Native, may lack the symbol; the loops that are compiled for it look for this name then.
const asyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator ?? '@@asyncIterator';

/** A message for the loop; with `tell` a call in its place among them, maybe with a message. */
interface Entry {
  message?: Message;
  tell?: (message: Message) => void;
}

/**
 * Messages that wait for a loop, and what its hooks are told between them. When it is slow the group is read again later,
 * from where it is: no more than a thousand and a page wait here.
 */
export class Stream implements AsyncIterableIterator<Message> {
  #waiting: Entry[] = [];
  #wanted: { resolve: (r: IteratorResult<Message>) => void; reject: (e: Error) => void }[] = [];
  #error: Error | undefined;
  #over = false;
  readonly #taken: (handled: Message | undefined) => void;
  readonly #stopped: () => void;
  #last: Message | undefined; // the loop is at it

  /** `taken` is called whenever the loop asks for more, with the message it is done with. */
  constructor(taken: (handled: Message | undefined) => void, stopped: () => void) {
    this.#taken = taken;
    this.#stopped = stopped;
  }

  get full(): boolean {
    return this.#waiting.length >= MOST_WAITING;
  }

  get hasRoom(): boolean {
    return this.#waiting.length <= MOST_WAITING / 2;
  }

  /** Hooks for a reader: what waits here is told to the app's when the loop is done with what came before. */
  hooks(app: Omit<ReaderHooks, 'onMessage' | 'onError'>): ReaderHooks {
    const { onRepair } = app;
    return {
      onMessage: (message) => this.#add({ message }),
      onHole: (hole) => this.#add({ tell: () => app.onHole?.(hole) }),
      onRecall: (recall) => this.#recall(recall, () => app.onRecall?.(recall)),
      onRecallsLost: () => this.#add({ tell: () => app.onRecallsLost?.() }),
      onRepair: onRepair && ((message) => this.#add({ message, tell: onRepair })),
      onLive: (page) => this.#add({ tell: () => app.onLive?.(page) }),
      onError: (error) => this.end(error),
    };
  }

  #add(entry: Entry): void {
    if (this.#over) return;
    this.#waiting.push(entry);
    this.#serve();
  }

  /** Nobody gets the body from now on. It is told behind the message, unless that comes without a body anyway. */
  #recall(recall: Recall, tell: () => void): void {
    let comes = false;
    for (const entry of this.#waiting) {
      if (entry.message?.seq !== recall.seq) continue;
      entry.message = tombstone(entry.message, recall);
      comes ||= !entry.tell;
    }
    if (comes) return;
    if (this.#last?.seq !== recall.seq) {
      tell();
      return;
    }
    this.#waiting.unshift({ tell });
    this.#serve();
  }

  /** Hands out what waits as far as the loop wants it; between two messages it is told what is between them. */
  #serve(): void {
    for (let entry = this.#waiting[0]; entry; entry = this.#waiting[0]) {
      const { message, tell } = entry;
      if (tell) {
        if (this.#last && this.#wanted.length === 0) return;
        this.#waiting.shift();
        safely(() => tell(message!));
      } else {
        const wanted = this.#wanted.shift();
        if (!wanted) return;
        this.#waiting.shift();
        this.#last = message;
        wanted.resolve({ value: message!, done: false });
      }
    }
    if (!this.#over) return;
    for (const { resolve, reject } of this.#wanted.splice(0)) {
      const error = this.#error;
      this.#error = undefined; // it is thrown once
      if (error) reject(error);
      else resolve({ value: undefined, done: true });
    }
  }

  /** Ends the loop behind what waits. */
  end(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    this.#serve();
  }

  next(): Promise<IteratorResult<Message>> {
    const handled = this.#last;
    this.#last = undefined;
    const next = new Promise<IteratorResult<Message>>((resolve, reject) => this.#wanted.push({ resolve, reject }));
    this.#serve();
    this.#taken(handled);
    return next;
  }

  return(): Promise<IteratorResult<Message>> {
    this.#waiting = [];
    this.end();
    this.#stopped();
    return Promise.resolve({ value: undefined, done: true });
  }

  [asyncIterator](): this {
    return this;
  }
}
