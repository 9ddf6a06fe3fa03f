import { useSignal } from '@preact/signals';
import { get } from '../api';
import { clock, rate, unknown } from '../format';
import { useLoaded } from '../load';
import { format, type Metric } from '../route';
import { last, ofGroup, ofInstances, peak, type Series, sum } from '../series';
import { old, overview } from '../state';
import type { GroupRates, Rates } from '../types';
import { Chart } from './chart';
import { Empty, Failure, Loading, Panel } from './panel';

interface Props {
  /** One group, or all of them. */
  group: string | undefined;
  metric: Metric;
}

const everyMS = 3000;

export function RatesPanel({ group, metric }: Props) {
  const { loaded } = useLoaded(group ?? '', () => ask(group), everyMS);
  const { data, error } = loaded.value;
  const series = data && ('instances' in data ? ofInstances(data, metric) : ofGroup(data));
  return (
    <Panel name="rates" title="Rates" aside={<Choice group={group} metric={metric} />}>
      {error && !old.value && <Failure>{error.message}</Failure>}
      {series ? <Drawing series={series} what={group ? `in ${group}` : metric} /> : !error && <Loading />}
    </Panel>
  );
}

function ask(group: string | undefined): Promise<Rates | GroupRates> {
  return get(group === undefined ? '/rates' : `/rates?group=${encodeURIComponent(group)}`);
}

function Choice({ group, metric }: Props) {
  const hot = overview.value?.hot?.groups ?? [];
  const others = group && !hot.some((g) => g.group === group) ? [{ group, name: group }, ...hot] : hot;
  const go = (g: string, m: Metric) => {
    location.hash = format(g ? { view: 'overview', rates: g, metric: 'messages' } : { view: 'overview', metric: m });
  };
  return (
    <div class="choice">
      {!group && (
        <fieldset class="switch" aria-label="What is counted">
          {(['messages', 'deliveries'] as const).map((m) => (
            <button type="button" key={m} aria-pressed={metric === m} onClick={() => go('', m)}>
              {m === 'messages' ? 'Messages' : 'Deliveries'}
            </button>
          ))}
        </fieldset>
      )}
      <select aria-label="Of which group" value={group ?? ''} onChange={(e) => go(e.currentTarget.value, metric)}>
        <option value="">All groups</option>
        {others.map((g) => (
          <option key={g.group} value={g.group}>
            {g.name || g.group}
          </option>
        ))}
      </select>
    </div>
  );
}

/** The chart with its legend, which tells the values below the pointer, or else the last ones. */
function Drawing({ series, what }: { series: Series; what: string }) {
  const pointed = useSignal<number | null>(null);
  const end = last(series);
  if (end < 0) return <Empty>Nothing was sent in the last 15 minutes.</Empty>;
  const at = pointed.value !== null && pointed.value < series.times.length ? pointed.value : end;
  const label = `Per second ${what}, last 15 minutes: now ${rate(sum(series, end) ?? undefined)}, highest ${rate(peak(series))}`;
  return (
    <>
      <Chart series={series} label={label} point={(i) => (pointed.value = i)} />
      <ul class="legend" aria-hidden="true">
        <li class="soft">{clock(series.times[at]! * 1000)}</li>
        {series.names.map((name, i) => (
          <li key={name}>
            <span class="swatch" data-series={i % 6} />
            {name} <b>{value(series.rows[i]![at])}</b>
          </li>
        ))}
        {series.names.length > 1 && (
          <li>
            total <b>{value(sum(series, at))}</b>
          </li>
        )}
      </ul>
    </>
  );
}

function value(v: number | null | undefined): string {
  return v === null || v === undefined ? unknown : `${rate(v)}/s`;
}
