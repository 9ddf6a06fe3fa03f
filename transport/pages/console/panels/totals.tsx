// The strip on top: five numbers that tell whether all is well.

import type { ComponentChildren } from 'preact';
import { count, latency, plural, rate, unknown } from '../format';
import { trail } from '../history';
import { old, overview, route, samples } from '../state';
import type { Totals as Numbers } from '../types';
import { SparkLine } from './spark-line';

/** On the other views only the numbers: there they are not what is looked at. */
export function Totals() {
  const t = overview.value?.totals ?? {};
  const mysqlAway = overview.value?.stores.mysql.ok === false;
  return (
    <section aria-label="Totals of all instances">
      <dl class="totals" data-compact={route.value.view !== 'overview'} data-old={old.value}>
        <Tile id="messages" of="messages_per_s" name="Messages" value={rate(t.messages_per_s)} unit="/s">
          {t.users === undefined ? '' : `${plural(t.users, 'user')} online`}
        </Tile>
        <Tile id="deliveries" of="deliveries_per_s" name="Deliveries" value={rate(t.deliveries_per_s)} unit="/s">
          {perMessage(t)}
        </Tile>
        <Tile id="connections" of="connections" name="Connections" value={count(t.connections)}>
          {overview.value ? `on ${plural(overview.value.instances.length, 'instance')}` : ''}
        </Tile>
        <Tile
          id="backlog"
          of="backlog"
          name="Backlog"
          value={count(t.backlog)}
          bad={mysqlAway || (t.dead_letters ?? 0) > 0}
        >
          {mysqlAway ? 'MySQL away' : t.dead_letters ? plural(t.dead_letters, 'dead letter') : lag(t)}
        </Tile>
        <Tile id="p99" of="p99_ms" name="p99" {...split(latency(t.p99_ms))}>
          send to answer
        </Tile>
      </dl>
    </section>
  );
}

interface TileProps {
  id: string;
  of: keyof Numbers;
  name: string;
  value: string;
  unit?: string;
  bad?: boolean;
  children: ComponentChildren;
}

/** data-value has the plain number, for tests and scripts. */
function Tile({ id, of, name, value, unit, bad, children }: TileProps) {
  return (
    <div class="tile" data-bad={bad}>
      <dt>{name}</dt>
      <dd data-testid={`totals-${id}`} data-value={overview.value?.totals[of]}>
        {value}
        {unit && value !== unknown && <span class="unit">{unit}</span>}
      </dd>
      <dd class="soft">{children}</dd>
      <SparkLine values={trail(samples.value, of)} over={120} />
    </div>
  );
}

function lag({ lag_ms }: Numbers): string {
  return lag_ms === undefined ? 'not yet in MySQL' : `lag ${latency(lag_ms)}`;
}

function perMessage({ messages_per_s: sent, deliveries_per_s: delivered }: Numbers): string {
  return sent && delivered !== undefined ? `${rate(delivered / sent)} a message` : '';
}

/** "14 ms" as number and unit; "2 min 3 s" stays as it is. */
function split(text: string): { value: string; unit?: string } {
  const [value = '', unit, ...more] = text.split(' ');
  return unit && !more.length ? { value, unit: ` ${unit}` } : { value: text };
}
