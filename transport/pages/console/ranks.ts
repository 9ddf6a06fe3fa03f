// What the ranking was: for the change of rank and the line beside each room. The server tells only the present, so
// both begin when the page is opened.

import type { Hot } from './types';

/** One ranking as it was. */
export interface Standing {
  time_ms: number;
  rank: Map<string, number>;
  heat: Map<string, number>;
}

const remembered = 5 * 60_000;
const comparedWith = 60_000;

/** Adds a ranking, unless it is the one before, and forgets what is older than five minutes. */
export function remember(past: readonly Standing[], hot: Hot): readonly Standing[] {
  const last = past.at(-1);
  if (last && hot.time_ms <= last.time_ms) return past;
  const standing: Standing = {
    time_ms: hot.time_ms,
    rank: new Map(hot.groups.map((g) => [g.group, g.rank])),
    heat: new Map(hot.groups.map((g) => [g.group, g.heat])),
  };
  return [...past.filter((s) => s.time_ms > hot.time_ms - remembered), standing];
}

/** Places gained (lost: negative) in a minute, or since the page was opened; "new" for who was not ranked then. */
export function change(past: readonly Standing[], group: string): number | 'new' {
  const now = past.at(-1);
  const rank = now?.rank.get(group);
  if (!now || rank === undefined) return 0;
  const then = past.find((s) => s.time_ms >= now.time_ms - comparedWith);
  if (!then || then === now) return 0;
  const before = then.rank.get(group);
  return before === undefined ? 'new' : before - rank;
}

/** The heat over the time remembered; 0 where the group was not among the first. */
export function heats(past: readonly Standing[], group: string): number[] {
  return past.map((s) => s.heat.get(group) ?? 0);
}
