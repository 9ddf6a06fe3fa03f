import { ago, duration, exact, plural } from '../format';
import { change, heats } from '../ranks';
import { format } from '../route';
import { overview, serverNow, standings } from '../state';
import type { HotGroup } from '../types';
import { Empty, Loading, Panel } from './panel';
import { SparkLine } from './spark-line';

export function Hot() {
  const hot = overview.value?.hot;
  const aside = hot && <span class="soft">heat of the last {duration(hot.window_ms)}</span>;
  return (
    <Panel name="hot" title="Hot rooms" aside={aside}>
      {!overview.value ? (
        <Loading />
      ) : !hot ? (
        <Empty>The ranking is not known: Redis does not answer.</Empty>
      ) : hot.groups.length === 0 ? (
        <Empty>Nobody has spoken in the last {duration(hot.window_ms)}.</Empty>
      ) : (
        <Ranking groups={hot.groups} />
      )}
    </Panel>
  );
}

function Ranking({ groups }: { groups: HotGroup[] }) {
  const top = Math.max(...groups.map((g) => g.heat), ...groups.flatMap((g) => heats(standings.value, g.group)));
  return (
    <table>
      <thead>
        <tr>
          <th scope="col" class="number">
            #
          </th>
          <th scope="col">
            <span class="hidden">Change in a minute</span>
          </th>
          <th scope="col">Room</th>
          <th scope="col" class="number">
            Heat
          </th>
          <th scope="col">
            <span class="hidden">Trend</span>
          </th>
          <th scope="col" class="number wide-only">
            Viewers
          </th>
          <th scope="col" class="number wide-only last">
            Last message
          </th>
        </tr>
      </thead>
      <tbody>
        {groups.map((g) => (
          <tr key={g.group} data-testid="hot-row" data-group={g.group} data-heat={g.heat}>
            <td class="number soft">{g.rank}</td>
            <td class="change">
              <Change places={change(standings.value, g.group)} />
            </td>
            <th scope="row">
              <a href={format({ view: 'room', group: g.group })} title={g.group}>
                {g.name || g.group}
              </a>
              {g.name && g.name !== g.group && <span class="soft id"> {g.group}</span>}
            </th>
            <td class="number strong">{exact(g.heat)}</td>
            <td class="spark-cell">
              <SparkLine values={heats(standings.value, g.group)} over={150} max={top} />
            </td>
            <td class="number wide-only">{exact(g.online)}</td>
            <td class="number soft wide-only last">{ago(g.last_message_ms, serverNow.value)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Change({ places }: { places: number | 'new' }) {
  if (places === 'new') return <span class="new">new</span>;
  if (places === 0) return <span class="hidden">unchanged</span>;
  const up = places > 0;
  return (
    <span class={up ? 'up' : 'down'}>
      <span aria-hidden="true">
        {up ? '▲' : '▼'}
        {Math.abs(places)}
      </span>
      <span class="hidden">
        {up ? 'up' : 'down'} {plural(Math.abs(places), 'place')}
      </span>
    </span>
  );
}
