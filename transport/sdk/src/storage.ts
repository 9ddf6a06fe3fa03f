/**
 * Where seqs live between visits. What is kept of a group is the last seq that was handed out, and the time up to which
 * its recalls are known. It may be slow: nothing waits for `save`.
 */
export interface Storage {
  load(key: string): number | undefined | null | Promise<number | undefined | null>;
  save(key: string, value: number): void | Promise<void>;
}

export function seqKey(group: string): string {
  return `seq:${group}`;
}

/** The key of the time, by the server's clock, up to which a group's recalls are known. */
export function seenKey(group: string): string {
  return `seen_ms:${group}`;
}

/** Keeps the integers in the page's localStorage. Each user needs a prefix of his own, and so does each server. */
export function browserStorage(prefix = 'hearth:'): Storage {
  return {
    load(key) {
      const value = globalThis.localStorage?.getItem(prefix + key);
      return value ? Number(value) : undefined;
    },
    save(key, value) {
      globalThis.localStorage?.setItem(prefix + key, String(value));
    },
  };
}
