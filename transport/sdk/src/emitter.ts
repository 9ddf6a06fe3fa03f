import { safely } from './reader';

/** Listeners by name. */
export class Emitter<E> {
  readonly #listeners = new Map<keyof E, Set<(value: never) => void>>();

  /** Returns what ends the listening. */
  on<N extends keyof E>(name: N, listener: (value: E[N]) => void): () => void {
    let set = this.#listeners.get(name);
    if (!set) {
      set = new Set();
      this.#listeners.set(name, set);
    }
    const own = (value: E[N]) => listener(value); // one listener given twice is two
    set.add(own);
    return () => void set.delete(own);
  }

  emit<N extends keyof E>(name: N, value: E[N]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      safely(() => (listener as (value: E[N]) => void)(value));
    }
  }
}
