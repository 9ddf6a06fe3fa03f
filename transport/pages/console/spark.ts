// A spark line as paths of an SVG.

type Values = readonly (number | null)[];

export interface Box {
  width: number;
  height: number;
  /** The value at the top. */
  max: number;
}

interface Point {
  x: number;
  y: number;
}

/** The last n values. Where there are fewer the line begins later: the width stands for a time. */
export function window(values: Values, n: number): (number | null)[] {
  return [...Array<null>(Math.max(0, n - values.length)).fill(null), ...values.slice(-n)];
}

/** At most n values, keeping the highest of each part: a short burst stays visible. */
export function thin(values: Values, n: number): (number | null)[] {
  if (values.length <= n) return [...values];
  return Array.from({ length: n }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / n), Math.floor(((i + 1) * values.length) / n));
    const known = part.filter((v) => v !== null);
    return known.length ? Math.max(...known) : null;
  });
}

/** A height that leaves some air above the highest value; never 0. */
export function top(values: Values): number {
  return Math.max(...values.map((v) => v ?? 0)) * 1.2 || 1;
}

/** From the left edge to the right one, 0 at the bottom, broken where a value is not known. */
export function line(values: Values, box: Box): string {
  return runs(values, box).map(draw).join('');
}

/** The surface below the line. */
export function area(values: Values, box: Box): string {
  return runs(values, box)
    .map((run) => `${draw(run)}L${run.at(-1)!.x} ${box.height}L${run[0]!.x} ${box.height}Z`)
    .join('');
}

/** The points that belong together; one alone is no line. */
function runs(values: Values, box: Box): Point[][] {
  const all: Point[][] = [[]];
  values.forEach((v, i) => {
    if (v === null) {
      all.push([]);
      return;
    }
    const x = round((i / (values.length - 1)) * box.width);
    all.at(-1)!.push({ x, y: round((1 - Math.min(1, v / box.max)) * box.height) });
  });
  return all.filter((run) => run.length > 1);
}

function draw(run: Point[]): string {
  return `M${run.map((p) => `${p.x} ${p.y}`).join('L')}`;
}

function round(n: number): number {
  return Math.round(n * 10) / 10;
}
