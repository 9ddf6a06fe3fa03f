// What every panel looks at: the address, the last overview and how old it is.

import { computed, signal } from '@preact/signals';
import { type Sample, sample } from './history';
import { follow, type Link } from './live';
import { remember, type Standing } from './ranks';
import { parse, type Route } from './route';
import type { Overview } from './types';

export const route = signal<Route>(parse(location.hash));
export const overview = signal<Overview | null>(null);
export const link = signal<Link>({ state: 'connecting' });
export const standings = signal<readonly Standing[]>([]);
export const samples = signal<readonly Sample[]>([]);
/** Said to screen readers; only what changes rarely and matters. */
export const announcement = signal('');

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

/** Follows the overview until the function it returns is called. */
export function followOverview(): () => void {
  const clock = setInterval(() => {
    now.value = Date.now();
  }, 1000);
  const stop = follow({
    event: 'overview',
    path: () => '/events',
    on: (data) => take(data as Overview),
    link: (l) => {
      link.value = l;
    },
    quietMS: 10_000,
  });
  return () => {
    clearInterval(clock);
    stop();
  };
}

export function announce(text: string) {
  announcement.value = text;
}

function take(o: Overview) {
  const before = overview.value;
  overview.value = o;
  receivedAt.value = now.value = Date.now();
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
