// A server-sent stream that is opened again, with back-off, whenever it ends. The browser's own EventSource gives up on
// an HTTP error, does not tell which, and does not notice a connection that is dead without a word.

import { ApiError, base, get, probe } from './api';

export type Link =
  | { state: 'connecting' }
  | { state: 'live' }
  /** The next attempt is at this time (Date.now); says has the server's words when it refused. */
  | { state: 'waiting'; retryAt: number; says?: string };

export interface Stream {
  /** What is done with each event. */
  on: { [event: string]: (data: unknown) => void };
  /** Asked at each attempt: a room goes on from its last seq. */
  path: () => string;
  link?: (link: Link) => unknown;
  /** Without an event for so long the connection counts as dead. 0: it may be quiet. */
  quietMS?: number;
}

const firstMS = 1000;
const longestMS = 15_000;

/** Follows until the function it returns is called; pauses while nobody sees the page: browsers have six connections. */
export function follow(stream: Stream): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let watchdog: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let attempts = 0; // an answer that is about another one is told nobody

  function open() {
    let opened = false;
    stream.link?.({ state: 'connecting' });
    source = new EventSource(base + stream.path());
    source.onopen = () => {
      opened = true;
      stream.link?.({ state: 'live' });
    };
    source.onerror = () => again(opened);
    for (const [event, on] of Object.entries(stream.on)) {
      source.addEventListener(event, (e) => {
        failures = 0;
        watch();
        on(JSON.parse((e as MessageEvent<string>).data));
      });
    }
    watch();
  }

  function watch() {
    clearTimeout(watchdog);
    if (stream.quietMS) watchdog = setTimeout(() => again(true), stream.quietMS);
  }

  function again(opened: boolean) {
    const path = stream.path();
    close();
    const retryAt = Date.now() + backOff(failures++);
    timer = setTimeout(open, retryAt - Date.now());
    const asked = ++attempts;
    stream.link?.({ state: 'waiting', retryAt });
    // Tells whether the session is over: then the page asks for the key and stops this. A refusal says why.
    (opened ? get('/session') : probe(path)).catch((e) => {
      if (asked === attempts && !source && e instanceof ApiError && e.status > 0)
        stream.link?.({ state: 'waiting', retryAt, says: e.message });
    });
  }

  function close() {
    clearTimeout(timer);
    clearTimeout(watchdog);
    source?.close();
    source = undefined;
  }

  function seen() {
    close();
    attempts++;
    if (!document.hidden) open();
  }

  document.addEventListener('visibilitychange', seen);
  seen();
  return () => {
    document.removeEventListener('visibilitychange', seen);
    close();
    attempts++;
  };
}

/** Doubles up to 15 s, and half of it is chance: a fleet of pages must not return at once. */
export function backOff(failures: number, chance = Math.random()): number {
  const longest = Math.min(longestMS, firstMS * 2 ** failures);
  return Math.round(longest / 2 + (chance * longest) / 2);
}
