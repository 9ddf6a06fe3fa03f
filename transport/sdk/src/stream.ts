import { type ReaderHooks, safely } from './reader';
import type { Message } from './types';

const MOST_WAITING = 1000;

// Hermes, the engine of React Native, may lack the symbol; the loops that are compiled for it look for this name then.
const asyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator ?? '@@asyncIterator';

/** A message for the loop, or what is to be told in its place among them. */
type Entry = { message: Message; tell?: undefined } | { tell: () => void; message?: undefined };

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
      onRecall: (recall) => app.onRecall?.(recall),
      onRecallsLost: () => this.#add({ tell: () => app.onRecallsLost?.() }),
      onRepair: onRepair && ((message) => this.#add({ tell: () => app.onRepair?.(message) })),
      onLive: (page) => this.#add({ tell: () => app.onLive?.(page) }),
      onError: (error) => this.end(error),
    };
  }

  #add(entry: Entry): void {
    if (this.#over) return;
    this.#waiting.push(entry);
    this.#serve();
  }

  /** Hands out what waits as far as the loop wants it; between two messages it is told what is between them. */
  #serve(): void {
    for (let entry = this.#waiting[0]; entry; entry = this.#waiting[0]) {
      if (entry.message) {
        const wanted = this.#wanted.shift();
        if (!wanted) return;
        this.#last = entry.message;
        wanted.resolve({ value: entry.message, done: false });
        this.#waiting.shift();
      } else {
        if (this.#last && this.#wanted.length === 0) return;
        this.#waiting.shift();
        safely(entry.tell);
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
