import { area, line, thin, top, window } from '../spark';

interface Props {
  values: readonly (number | null)[];
  /** How many values the width stands for, at most; a fifth of them at least, so that the first are not stretched. */
  over: number;
  /** The value at the top, when several lines are to be compared. */
  max?: number;
}

const width = 120;
const height = 28;

/** Decoration beside a number that says the same: hidden from screen readers. */
export function SparkLine({ values, over, max }: Props) {
  const shown = thin(window(values, Math.max(over / 5, Math.min(over, values.length))), 75);
  const box = { width, height, max: max ?? top(shown) };
  return (
    <svg class="spark" viewBox={`0 -2 ${width} ${height + 2}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="area" d={area(shown, box)} />
      <path class="line" d={line(shown, box)} />
    </svg>
  );
}
