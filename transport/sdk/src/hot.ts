import { pause } from './abort';
import type { Connection } from './connection';
import type { HearthError } from './error';
import type { Link } from './link';
import { safely } from './reader';

export interface HotOptions {
  /** Rooms an event, at most 50. With several watchers all get as many as the one that wants most. */
  limit?: number;
  /** The server does not tell them. */
  onError?(error: HearthError): void;
}

const MOST = 50;
const AGAIN_MS = 2000;

/** Asks for the hot rooms while somebody watches them, on every connection. */
export class Hot {
  readonly #link: Link;
  readonly #watchers = new Set<HotOptions>();
  #asked: object | undefined; // the latest request

  constructor(link: Link) {
    this.#link = link;
  }

  /** Returns what ends it. The server answers every request with the rooms as they are. */
  watch({ ...watcher }: HotOptions): () => void {
    this.#watchers.add(watcher);
    this.#ask();
    return () => {
      if (this.#watchers.delete(watcher)) this.#ask();
    };
  }

  welcome(connection: Connection): void {
    if (this.#watchers.size > 0) this.#ask(connection);
  }

  #ask(connection = this.#link.connection): void {
    const asked = {};
    this.#asked = asked;
    const limits = [...this.#watchers].map(({ limit }) => limit ?? MOST);
    const fields = limits.length > 0 ? { watch: true, limit: Math.max(...limits) } : { watch: false };
    connection?.ask('hot', fields, (error) => {
      if (!error || connection.over || this.#asked !== asked) return;
      if (!error.retryable) {
        for (const { onError } of [...this.#watchers]) safely(() => onError?.(error));
        return;
      }
      void pause(error.retryAfterMs ?? AGAIN_MS, this.#link.left).then(() => {
        if (this.#asked === asked && !connection.over) this.#ask();
      });
    });
  }
}
