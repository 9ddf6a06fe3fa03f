import { count, dateTime, duration, latency, rate, unknown } from '../format';
import { overview } from '../state';
import type { Instance } from '../types';
import { Empty, Loading, Panel } from './panel';

export function Instances() {
  const o = overview.value;
  const aside = o && !o.stores.redis.ok ? <span class="soft">without Redis the others are not seen</span> : null;
  return (
    <Panel name="instances" title="Instances" aside={aside}>
      {!o ? (
        <Loading />
      ) : o.instances.length ? (
        <Table instances={o.instances} now={o.time_ms} />
      ) : (
        <Empty>No instance has told of itself yet.</Empty>
      )}
    </Panel>
  );
}

const columns: [string, (i: Instance) => string][] = [
  ['Connections', (i) => count(i.connections)],
  ['Messages/s', (i) => rate(i.messages_per_s)],
  ['Deliveries/s', (i) => rate(i.deliveries_per_s)],
  ['p99', (i) => latency(i.p99_ms)],
  ['Canary', (i) => latency(i.canary_age_ms)],
  ['Backlog', (i) => count(i.backlog)],
];

const abouts: { [name: string]: string } = {
  p99: '99 of 100 sends were answered within this time.',
  Canary: 'Age of the last test message that came back through Redis: fan-out works while it is a few seconds.',
  Backlog: 'Messages accepted and not in MySQL, of the partitions that this instance writes.',
};

/** At the time when they were told: old numbers do not make an instance silent. */
function Table({ instances, now }: { instances: Instance[]; now: number }) {
  return (
    <table class="cards">
      <thead>
        <tr>
          <th scope="col">Instance</th>
          <th scope="col">State</th>
          <th scope="col" class="number">
            Up
          </th>
          {columns.map(([name]) => (
            <th scope="col" class="number" key={name}>
              {abouts[name] ? <abbr title={abouts[name]}>{name}</abbr> : name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {instances.map((i) => (
          <tr key={i.name} data-testid="instance-row" data-instance={i.name}>
            <th scope="row">
              {i.name}
              <span class="soft id">{i.version}</span>
            </th>
            <td>
              <State instance={i} now={now} />
            </td>
            <td
              class="number"
              data-label="Up"
              title={i.started_ms === undefined ? '' : `since ${dateTime(i.started_ms)}`}
            >
              {i.started_ms === undefined ? unknown : duration(now - i.started_ms)}
            </td>
            {columns.map(([name, value]) => (
              <td class="number" data-label={name} key={name}>
                {value(i)}
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const silentMS = 8000;

function State({ instance: i, now }: { instance: Instance; now: number }) {
  const [level, text] = state(i, now);
  return (
    <span class={`badge ${level}`} data-testid="instance-state">
      {text}
    </span>
  );
}

/** Silence first: what a silent instance said last may no longer be so. */
export function state(i: Instance, now: number): [level: string, text: string] {
  if (i.seen_ms !== undefined && now - i.seen_ms > silentMS) return ['bad', `silent ${duration(now - i.seen_ms)}`];
  if (i.draining) return ['warn', 'draining'];
  if (i.ready === undefined) return ['unknown', 'not known'];
  return i.ready ? ['good', 'ready'] : ['bad', 'not ready'];
}
