// The totals of the last minutes, for the lines beside them.

import type { Overview, Totals } from './types';

export interface Sample {
  time_ms: number;
  totals: Totals;
}

const remembered = 5 * 60_000;

/** Adds a sample and forgets those older than five minutes. */
export function sample(past: readonly Sample[], overview: Overview): readonly Sample[] {
  const { time_ms, totals } = overview;
  return [...past.filter((s) => s.time_ms > time_ms - remembered && s.time_ms < time_ms), { time_ms, totals }];
}

/** One number over time; null where it was not known. */
export function trail(past: readonly Sample[], key: keyof Totals): (number | null)[] {
  return past.map((s) => s.totals[key] ?? null);
}
