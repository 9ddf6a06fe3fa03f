// A server-sent stream that is opened again, with back-off, whenever it ends. The browser's own EventSource gives up on
// an HTTP error, does not tell which, and does not notice a connection that is dead without a word.

import { base, get } from './api';

export type Link =
  | { state: 'connecting' }
  | { state: 'live' }
  /** The next attempt is at this time (Date.now). */
  | { state: 'waiting'; retryAt: number };

export interface Stream {
  event: string;
  /** Asked at each attempt: a room goes on from its last seq. */
  path: () => string;
  on: (data: unknown) => void;
  link?: (link: Link) => unknown;
  /** Without an event for so long the connection counts as dead. 0: it may be quiet. */
  quietMS?: number;
}

const firstMS = 1000;
const longestMS = 15_000;

/** Follows until the function it returns is called. */
export function follow(stream: Stream): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let watchdog: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;

  function open() {
    stream.link?.({ state: 'connecting' });
    source = new EventSource(base + stream.path());
    source.onopen = () => stream.link?.({ state: 'live' });
    source.onerror = again;
    source.addEventListener(stream.event, (e) => {
      failures = 0;
      watch();
      stream.on(JSON.parse((e as MessageEvent<string>).data));
    });
    watch();
  }

  function watch() {
    clearTimeout(watchdog);
    if (stream.quietMS) watchdog = setTimeout(again, stream.quietMS);
  }

  function again() {
    close();
    const wait = backOff(failures++);
    stream.link?.({ state: 'waiting', retryAt: Date.now() + wait });
    timer = setTimeout(open, wait);
    // Tells whether the session is over: then the page asks for the key and stops this.
    get('/session').catch(() => {});
  }

  function close() {
    clearTimeout(timer);
    clearTimeout(watchdog);
    source?.close();
    source = undefined;
  }

  open();
  return close;
}

/** Doubles up to 15 s, and half of it is chance: a fleet of pages must not return at once. */
export function backOff(failures: number, chance = Math.random()): number {
  const longest = Math.min(longestMS, firstMS * 2 ** failures);
  return Math.round(longest / 2 + (chance * longest) / 2);
}
