import type { Message } from './types';

const MOST_WAITING = 1000;

// Hermes, the engine of React Native, may lack the symbol; the loops that are compiled for it look for this name then.
const asyncIterator: typeof Symbol.asyncIterator = Symbol.asyncIterator ?? '@@asyncIterator';

/**
 * Messages that wait for a loop. When it is slow the group is read again later, from where it is: no more than a
 * thousand and a page wait here.
 */
export class Stream implements AsyncIterableIterator<Message> {
  #waiting: Message[] = [];
  #wanted: { resolve: (r: IteratorResult<Message>) => void; reject: (e: Error) => void }[] = [];
  #error: Error | undefined;
  #over = false;
  readonly #taken: (handled: Message | undefined) => void;
  readonly #stopped: () => void;
  #last: Message | undefined;

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

  push(message: Message): void {
    if (this.#over) return;
    const wanted = this.#wanted.shift();
    if (!wanted) {
      this.#waiting.push(message);
      return;
    }
    this.#last = message;
    wanted.resolve({ value: message, done: false });
  }

  /** Ends the loop behind what waits. */
  end(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = error;
    for (const { resolve, reject } of this.#wanted.splice(0)) {
      if (error) reject(error);
      else resolve({ value: undefined, done: true });
    }
  }

  next(): Promise<IteratorResult<Message>> {
    const handled = this.#last;
    this.#last = undefined;
    const value = this.#waiting.shift();
    if (value) this.#last = value;
    this.#taken(handled);
    if (value) return Promise.resolve({ value, done: false });
    if (!this.#over) return new Promise((resolve, reject) => this.#wanted.push({ resolve, reject }));
    const error = this.#error;
    this.#error = undefined;
    return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true });
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
