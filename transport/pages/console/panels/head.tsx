import icon from '../../shared/icon.svg';
import { logout, says } from '../api';
import { format, type Route } from '../route';
import { session } from '../session';
import { announce, link, old, overview, route } from '../state';

const views: [string, Route][] = [
  ['Overview', { view: 'overview', metric: 'messages' }],
  ['Room', { view: 'room' }],
  ['Inspector', { view: 'inspect', kind: 'group' }],
  ['Configuration', { view: 'config' }],
];

export function Head() {
  const s = session.value;
  return (
    <header class="head">
      <div class="brand">
        <img src={icon} alt="" width="24" height="24" />
        <h1>hearth</h1>
        <span class="soft" title="The instance that answers this page, and its version">
          {s?.instance} <span class="version">{s?.version}</span>
        </span>
      </div>
      <nav aria-label="Views">
        {views.map(([name, r]) => (
          <a key={name} href={format(r)} aria-current={route.value.view === r.view ? 'page' : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <div class="who">
        <Pulse />
        <button type="button" class="quiet" onClick={leave} title={`Logged in with the key ${s?.key}`}>
          Log out
        </button>
      </div>
    </header>
  );
}

/** Whether the numbers are of now. */
function Pulse() {
  const state =
    overview.value && !old.value && link.value.state !== 'waiting' ? 'live' : overview.value ? 'old' : 'connecting';
  const text = { live: 'Live', old: 'Old numbers', connecting: 'Connecting' }[state];
  return (
    <span class="pulse" data-state={state} data-testid="link">
      {text}
    </span>
  );
}

function leave() {
  logout().catch((e) => announce(says(e)));
}
