// Numbers and times as operators read them. What is not known is a dash.

export const unknown = '–';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 2 });
const time = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const date = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** 4210 → 4,210; from a million on 1.25M. */
export function count(n: number | undefined): string {
  if (n === undefined) return unknown;
  return Math.abs(n) < 1_000_000 ? whole.format(n) : compact.format(n);
}

/** Every digit: for seqs, which are looked up and compared. */
export function exact(n: number | undefined): string {
  return n === undefined ? unknown : whole.format(n);
}

/** A rate: small ones with a tenth, so that a quiet system does not look dead. */
export function rate(n: number | undefined): string {
  if (n === undefined) return unknown;
  return n > 0 && n < 10 ? tenths.format(n) : count(n);
}

/** A number at the side of a chart. */
export function tick(n: number): string {
  return n < 1000 ? String(Number(n.toFixed(3))) : compact.format(n);
}

/** Two units at most: 12 s, 4 min 10 s, 3 h 12 min, 5 d 3 h. */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const units: [string, number][] = [
    ['d', Math.floor(s / 86_400)],
    ['h', Math.floor(s / 3600) % 24],
    ['min', Math.floor(s / 60) % 60],
    ['s', s % 60],
  ];
  const first = units.findIndex(([, n]) => n > 0);
  if (first < 0) return '0 s';
  return units
    .slice(first, first + 2)
    .filter(([, n], i) => i === 0 || n > 0)
    .map(([unit, n]) => `${n} ${unit}`)
    .join(' ');
}

/** A latency: 14 ms, 1.2 s, and a duration from ten seconds on. */
export function latency(ms: number | undefined): string {
  if (ms === undefined) return unknown;
  if (ms < 10 && ms % 1 !== 0) return `${tenths.format(ms)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 10_000 ? `${tenths.format(ms / 1000)} s` : duration(ms);
}

/** How long ago, told in whole seconds: a clock that is a little ahead reads "now". */
export function ago(at: number | undefined, now: number): string {
  if (at === undefined) return unknown;
  return now - at < 1000 ? 'now' : `${duration(now - at)} ago`;
}

export function clock(ms: number | undefined): string {
  return ms === undefined ? unknown : time.format(ms);
}

export function dateTime(ms: number | undefined): string {
  return ms === undefined ? unknown : date.format(ms);
}

export function bytes(n: number | undefined): string {
  if (n === undefined) return unknown;
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${tenths.format(n / 1024)} KiB`;
  return `${tenths.format(n / 1024 / 1024)} MiB`;
}

/** "5" or "5–9": a range of seqs, both ends inclusive. */
export function range(from: number | undefined, to: number | undefined): string {
  if (from === undefined || to === undefined) return unknown;
  return from === to ? exact(from) : `${exact(from)}–${exact(to)}`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${exact(n)} ${n === 1 ? one : many}`;
}
