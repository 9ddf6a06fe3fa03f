// Rates as uPlot takes them: one row of times, one row a line.

import type { Metric } from './route';
import type { GroupRates, Rates } from './types';

export interface Series {
  names: string[];
  /** Seconds since the epoch. */
  times: number[];
  rows: (number | null)[][];
}

/** A line per instance, in the order of their names, so that each keeps its colour. */
export function ofInstances(rates: Rates, metric: Metric): Series {
  const instances = [...rates.instances].sort((a, b) => (a.name < b.name ? -1 : 1));
  const length = Math.max(0, ...instances.map((i) => i[metric].length));
  return {
    names: instances.map((i) => i.name),
    times: times(rates, length),
    rows: instances.map((i) => pad(i[metric], length)),
  };
}

/** The one line of a group. */
export function ofGroup(rates: GroupRates): Series {
  return { names: [rates.group], times: times(rates, rates.messages.length), rows: [rates.messages] };
}

/** The sum of all lines at a place; null where nobody knows. */
export function sum(series: Series, at: number): number | null {
  const known = series.rows.map((r) => r[at] ?? null).filter((v) => v !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
}

/** The last place where any line has a value; -1 without one. */
export function last(series: Series): number {
  let i = series.times.length - 1;
  while (i >= 0 && sum(series, i) === null) i--;
  return i;
}

/** The highest sum. */
export function peak(series: Series): number {
  return series.times.reduce((max, _, i) => Math.max(max, sum(series, i) ?? 0), 0);
}

function times(r: { from_ms: number; step_ms: number }, length: number): number[] {
  return Array.from({ length }, (_, i) => (r.from_ms + i * r.step_ms) / 1000);
}

function pad(row: (number | null)[], length: number): (number | null)[] {
  return row.length === length ? row : [...row, ...Array<null>(length - row.length).fill(null)];
}
