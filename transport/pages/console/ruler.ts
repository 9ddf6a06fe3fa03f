// Where a group's messages lie, on one scale: MySQL, recent in Redis, unwritten, holes. Seqs may jump by a million, so
// the scale is not linear: the line is cut at every end of a range, and a piece is as wide as the logarithm of what it holds.

import type { GroupReport } from './types';

export interface Lane {
  name: string;
  /** Shares of the whole width, 0 to 1. */
  bars: { left: number; width: number; from: number; to: number }[];
}

interface Span {
  from: number;
  to: number;
}

export interface Ruler {
  first: number;
  last: number;
  lanes: Lane[];
}

/** Null when nobody knows of a message. */
export function ruler(g: GroupReport): Ruler | null {
  const spans: [string, Span[]][] = [
    ['MySQL', span(g.mysql?.min_seq, g.mysql?.max_seq)],
    ['Recent', span(g.redis?.recent_from, g.redis?.recent_to)],
    ['Unwritten', g.unwritten ? span(g.unwritten.from, g.unwritten.to) : []],
    ['Holes', g.holes ?? []],
  ];
  const all = spans.flatMap(([, s]) => s);
  if (!all.length) return null;
  const cuts = [...new Set(all.flatMap((s) => [s.from, s.to + 1]))].sort((a, b) => a - b);
  const place = scale(cuts);
  const lanes = spans.map(([name, s]) => ({
    name,
    bars: s.map(({ from, to }) => {
      const left = place.get(from)!;
      return { left, width: place.get(to + 1)! - left, from, to };
    }),
  }));
  return { first: cuts[0]!, last: cuts.at(-1)! - 1, lanes };
}

function scale(cuts: number[]): Map<number, number> {
  const widths = cuts.slice(1).map((c, i) => Math.log2(1 + c - cuts[i]!));
  const total = widths.reduce((a, b) => a + b, 0);
  let at = 0;
  const place = new Map([[cuts[0]!, 0]]);
  widths.forEach((w, i) => {
    at += w;
    place.set(cuts[i + 1]!, at / total);
  });
  return place;
}

function span(from: number | undefined, to: number | undefined): Span[] {
  return from && to && to >= from ? [{ from, to }] : [];
}
