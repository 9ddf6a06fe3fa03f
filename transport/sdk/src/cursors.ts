import { type Storage, seenKey, seqKey } from './storage';

const SAVE_MS = 250;

/** The integers in the app's storage. What changes often is written a few times a second. */
export class Cursors {
  readonly #storage: Storage;
  readonly #known = new Map<string, number>();
  readonly #dirty = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  readonly #seen: () => Map<string, number>;

  /** `seen` is asked at every write for the times up to which the recalls of groups are known. */
  constructor(storage: Storage, seen: () => Map<string, number>) {
    this.#storage = storage;
    this.#seen = seen;
  }

  /** The last seq that was handed out; undefined when there is none, or the storage fails. */
  seq(group: string): Promise<number | undefined> {
    return this.#load(seqKey(group));
  }

  seenMs(group: string): Promise<number | undefined> {
    return this.#load(seenKey(group));
  }

  saveSeq(group: string, seq: number): void {
    this.#put(seqKey(group), seq);
    this.touch();
  }

  /** Time has passed. */
  touch(): void {
    this.#timer ??= setTimeout(() => this.flush(), SAVE_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [group, ms] of this.#seen()) this.#put(seenKey(group), ms);
    for (const [key, value] of this.#dirty) this.#write(key, value);
    this.#dirty.clear();
  }

  async #load(key: string): Promise<number | undefined> {
    if (this.#known.has(key)) return this.#known.get(key);
    try {
      const value = await this.#storage.load(key);
      if (!Number.isSafeInteger(value) || value! < 0) return undefined;
      this.#known.set(key, Math.max(value!, this.#known.get(key) ?? 0));
      return value!;
    } catch {
      return undefined; // as on the first visit
    }
  }

  /** Only forward: who reads the history again does not bring all of it back at the next visit. */
  #put(key: string, value: number): void {
    if (value <= (this.#known.get(key) ?? -1)) return;
    this.#known.set(key, value);
    this.#dirty.set(key, value);
  }

  async #write(key: string, value: number): Promise<void> {
    try {
      await this.#storage.save(key, value);
    } catch {
      // The next visit starts a little earlier.
    }
  }
}
