import { pause, reasonOf } from './abort';
import { isRetryable } from './error';

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/**
 * Delays between attempts: anything from nothing to a bound that doubles. Without a fixed part, or the clients of a
 * server that went away would come back in waves.
 */
export class Backoff {
  #attempts = 0;

  next(): number {
    const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#attempts);
    if (this.#attempts < 5) this.#attempts++;
    return Math.random() * bound;
  }

  reset(): void {
    this.#attempts = 0;
  }
}

/** Tries until there is an answer that stays, or the signal fires. When `left` fires it tries at once. */
export async function repeat<T>(attempt: () => Promise<T>, signal?: AbortSignal, left?: AbortSignal): Promise<T> {
  const backoff = new Backoff();
  for (;;) {
    if (signal?.aborted) throw reasonOf(signal);
    try {
      return await attempt();
    } catch (error) {
      if (!isRetryable(error)) throw error;
      await pause(error.retryAfterMs ?? backoff.next(), signal, left);
    }
  }
}
