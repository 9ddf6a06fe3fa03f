import { useSignal } from '@preact/signals';
import { get, says, segment } from '../api';
import { dateTime, duration, exact, unknown } from '../format';
import { format } from '../route';
import { serverNow } from '../state';
import type { UserReport } from '../types';
import { Failure } from './panel';

export function User({ report: u }: { report: UserReport }) {
  return (
    <div data-testid="inspect-result" data-user={u.user}>
      <p>
        <span class={`badge ${u.online ? 'good' : 'unknown'}`}>{u.online ? 'online' : 'offline'}</span>
      </p>
      <Connections connections={u.connections ?? []} />
      <Groups report={u} />
    </div>
  );
}

function Connections({ connections }: { connections: NonNullable<UserReport['connections']> }) {
  return (
    <section>
      <h3>Connections</h3>
      {connections.length === 0 ? (
        <p class="soft">None.</p>
      ) : (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Connection</th>
              <th scope="col">Instance</th>
              <th scope="col">Device</th>
              <th scope="col">Platform</th>
              <th scope="col" class="number">
                For
              </th>
            </tr>
          </thead>
          <tbody>
            {connections.map((c) => (
              <tr key={c.conn} data-testid="inspect-connection">
                <th scope="row" class="plain id">
                  {c.conn}
                </th>
                <td data-label="Instance">{c.instance || unknown}</td>
                <td data-label="Device">{c.device || unknown}</td>
                <td data-label="Platform">{c.platform || unknown}</td>
                <td data-label="For" class="number" title={dateTime(c.since_ms)}>
                  {c.since_ms === undefined ? unknown : duration(serverNow.value - c.since_ms)}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

/** The first page is asked for again and again; those behind it once. */
function Groups({ report: u }: { report: UserReport }) {
  const more = useSignal<NonNullable<UserReport['groups']>>([]);
  const cursor = useSignal<string | null>(null);
  const failure = useSignal('');
  const next = cursor.value === null ? u.cursor : cursor.value;

  async function load() {
    failure.value = '';
    try {
      const page = await get<UserReport>(`/users/${segment(u.user)}?cursor=${encodeURIComponent(next!)}`);
      more.value = [...more.value, ...(page.groups ?? [])];
      cursor.value = page.cursor ?? '';
    } catch (e) {
      failure.value = says(e);
    }
  }

  const first = u.groups ?? [];
  const groups = [...first, ...more.value.filter((m) => !first.some((g) => g.group === m.group))];
  return (
    <section>
      <h3>Groups and read marks</h3>
      {groups.length === 0 ? (
        <p class="soft">Belongs to none.</p>
      ) : (
        <table class="marks">
          <thead>
            <tr>
              <th scope="col">Group</th>
              <th scope="col" class="wide-only">
                Role
              </th>
              <th scope="col" class="number wide-only">
                Max seq
              </th>
              <th scope="col" class="number">
                Read
              </th>
              <th scope="col" class="number">
                Unread
              </th>
            </tr>
          </thead>
          <tbody>
            {groups.map((g) => (
              <tr key={g.group} data-testid="inspect-user-group" data-group={g.group}>
                <th scope="row">
                  <a href={format({ view: 'inspect', kind: 'group', id: g.group })}>{g.group}</a>
                </th>
                <td class="wide-only">{g.role ?? unknown}</td>
                <td class="number wide-only">{exact(g.max_seq)}</td>
                <td class="number">{exact(g.read_seq)}</td>
                <td class="number strong">{exact(g.unread)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {failure.value && <Failure>{failure.value}</Failure>}
      {next && (
        <p>
          <button type="button" onClick={load}>
            More groups
          </button>
        </p>
      )}
    </section>
  );
}
