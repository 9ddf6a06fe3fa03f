// uPlot in a box that follows its parent's width and the colours of the page.

import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { clock, tick } from '../format';
import type { Series } from '../series';

interface Props {
  series: Series;
  /** All that a screen reader is told. */
  label: string;
  /** The place below the pointer, null when it has gone. */
  point: (at: number | null) => void;
}

const height = 240;

export function Chart({ series, label, point }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const tell = useRef(point);
  tell.current = point;
  const names = series.names.join('\n');

  useEffect(() => {
    const parent = box.current!;
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(
        options(parent, series.names, (at) => tell.current(at)),
        data(series),
        parent,
      );
    };
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    const size = new ResizeObserver(() => plot.current?.setSize({ width: parent.clientWidth, height }));
    draw();
    size.observe(parent);
    scheme.addEventListener('change', draw);
    return () => {
      size.disconnect();
      scheme.removeEventListener('change', draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [names]);

  useEffect(() => plot.current?.setData(data(series)), [series]);

  return <div class="chart" role="img" aria-label={label} ref={box} data-testid="rates" />;
}

function data(s: Series): uPlot.AlignedData {
  return [s.times, ...s.rows];
}

function options(parent: HTMLElement, names: string[], point: (at: number | null) => void): uPlot.Options {
  const ink = colour(parent, '--soft');
  const grid = { stroke: colour(parent, '--line'), width: 1 };
  const axis = { stroke: ink, grid, ticks: { show: false }, font: '12px system-ui, sans-serif' };
  return {
    width: parent.clientWidth,
    height,
    padding: [12, 8, 0, 0],
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false, points: { size: 7 } },
    scales: { y: { range: (_, __, max) => [0, max > 0 ? max * 1.1 : 1] } },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        space: 80,
        values: (_, ticks) => ticks.map((t) => clock(t * 1000).slice(0, 5)),
      },
      { ...axis, size: 46, values: (_, ticks) => ticks.map(tick) },
    ],
    series: [
      {},
      ...names.map((label, i) => ({
        label,
        stroke: colour(parent, `--series-${i % 6}`),
        width: 2,
        points: { show: false },
      })),
    ],
    hooks: { setCursor: [(u) => point(u.cursor.idx ?? null)] },
  };
}

/** A canvas knows no variables: the browser works the colour out on an element. */
function colour(parent: HTMLElement, name: string): string {
  const probe = document.createElement('i');
  probe.style.color = `var(${name})`;
  parent.append(probe);
  const computed = getComputedStyle(probe).color;
  probe.remove();
  return computed;
}
