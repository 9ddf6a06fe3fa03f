// What every panel looks at: the address, the last overview and how old it is.

import { computed, effect, signal, untracked } from '@preact/signals';
import { type Sample, sample } from './history';
import { follow, type Link } from './live';
import { remember, type Standing } from './ranks';
import { parse, type Route } from './route';
import type { Overview, RoomPage } from './types';

export const route = signal<Route>(parse(location.hash));
export const overview = signal<Overview | null>(null);
export const link = signal<Link>({ state: 'connecting' });
export const standings = signal<readonly Standing[]>([]);
export const samples = signal<readonly Sample[]>([]);
/** Said to screen readers; only what changes rarely and matters. */
export const announcement = signal('');

/** The page is seen again and asks for new numbers: that it has none is no failure. */
export const shownAgain = signal(false);

/** The room that is looked at: its pages come with the overview. */
export interface Watched {
  group: string;
  /** The last seq that need not be told again. */
  after: () => number | undefined;
  page: (page: RoomPage) => void;
  /** The group is shown no further. */
  refused: () => void;
}

const watched = signal<Watched | null>(null);

const now = signal(Date.now());
const receivedAt = signal(0);

const oldMS = 3500;

/** How long ago the last overview came. */
export const age = computed(() => (overview.value ? Math.max(0, now.value - receivedAt.value) : 0));
/** The numbers come once a second; from the fourth on they are told to be old. */
export const old = computed(() => age.value > oldMS);
/** The server's time: the clock of who looks may be wrong. */
export const serverNow = computed(() => (overview.value ? overview.value.time_ms + age.value : now.value));
/** The page's own time, to the second. */
export const pageNow = computed(() => now.value);

/** Follows the address until the function it returns is called. */
export function followAddress(): () => void {
  const changed = () => {
    route.value = parse(location.hash);
  };
  addEventListener('hashchange', changed);
  return () => removeEventListener('hashchange', changed);
}

/** Follows the overview, and with it the room that is watched, until the function it returns is called. */
export function followOverview(): () => void {
  const clock = setInterval(() => {
    now.value = Date.now();
  }, 1000);
  const seen = () => {
    now.value = Date.now();
    shownAgain.value = !document.hidden;
  };
  document.addEventListener('visibilitychange', seen);
  const stop = effect(() => {
    const room = watched.value;
    return untracked(() => followWith(room));
  });
  return () => {
    clearInterval(clock);
    document.removeEventListener('visibilitychange', seen);
    stop();
  };
}

/** Has a room's pages told until the function it returns is called. */
export function watch(room: Watched): () => void {
  watched.value = room;
  return () => {
    if (watched.peek() === room) watched.value = null;
  };
}

function followWith(room: Watched | null): () => void {
  return follow({
    path: () => (room ? `/events?${roomQuery(room)}` : '/events'),
    on: {
      overview: (data) => take(data as Overview),
      page: (data) => room?.page(data as RoomPage),
      refused: () => room?.refused(),
    },
    link: (l) => {
      link.value = l;
      if (l.state === 'waiting') shownAgain.value = false;
    },
    quietMS: 10_000,
  });
}

function roomQuery(room: Watched): URLSearchParams {
  const after = room.after();
  const q = new URLSearchParams({ group: room.group });
  if (after !== undefined) {
    q.set('after_seq', String(after));
    if (overview.value) q.set('recalled_after_ms', String(overview.value.time_ms));
  }
  return q;
}

export function announce(text: string) {
  announcement.value = text;
}

function take(o: Overview) {
  const before = overview.value;
  overview.value = o;
  receivedAt.value = now.value = Date.now();
  shownAgain.value = false;
  samples.value = sample(samples.value, o);
  if (o.hot) standings.value = remember(standings.value, o.hot);
  if (!before) return;
  for (const [store, name] of [
    ['mysql', 'MySQL'],
    ['redis', 'Redis'],
  ] as const) {
    if (before.stores[store].ok !== o.stores[store].ok)
      announce(o.stores[store].ok ? `${name} is back` : `${name} is away`);
  }
}
