// @vitest-environment happy-dom

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { FakeSource } from './source';
import { type Answer, adminKey, World } from './world';

vi.mock('uplot', () => ({
  default: class {
    setData() {}
    setSize() {}
    destroy() {}
  },
}));

vi.setConfig({ testTimeout: 30_000 });

let world: World;
let loggedIn: boolean;
let unmount: () => void;
const asked: string[] = [];

beforeEach(() => {
  // Promises, frames and timeouts are the page's; the clock is the test's.
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] });
  vi.resetModules();
  vi.stubGlobal('EventSource', FakeSource);
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    asked.push(`${init.method} ${url}`);
    const { status, body } = respond(String(init.method), url.replace('/console/api', ''), init.body);
    return new Response(body === undefined ? null : JSON.stringify(body), { status });
  });
  FakeSource.opened = [];
  asked.length = 0;
  localStorage.clear();
  world = new World(Date.now);
  loggedIn = true;
});

afterEach(() => {
  unmount();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function respond(method: string, path: string, body: BodyInit | null | undefined): Answer {
  const sent = body ? JSON.parse(String(body)) : {};
  if (path === '/login') loggedIn = sent.key === adminKey;
  if (path === '/logout') loggedIn = false;
  if (!loggedIn) return { status: 401, body: { error: { code: 'unauthenticated', message: 'No such key.' } } };
  if (path === '/login' || path === '/logout') return { status: 204 };
  if (path === '/session') return { status: 200, body: { key: 'ops', instance: 'a', version: 'v1' } };
  return world.answer(method, path, sent);
}

/** Opens the page at an address, logged in or not, and tells it the first numbers. */
async function open(hash = '#/', known = true) {
  location.hash = hash;
  if (known) localStorage.setItem('hearth-console', 'ops');
  document.body.innerHTML = '<div id="app"></div>';
  const [{ h, render }, { App }] = await Promise.all([import('preact'), import('../app')]);
  const root = document.getElementById('app')!;
  render(h(App, null), root);
  unmount = () => render(null, root);
  if (known) await tell();
}

async function tell() {
  await until(() => FakeSource.to('/console/api/events'));
  FakeSource.to('/console/api/events')!.onopen?.();
  FakeSource.to('/console/api/events')!.tell('overview', world.overview());
}

function all(testid: string): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>(`[data-testid="${testid}"]`)];
}

function text(testid: string): string {
  return all(testid)[0]?.textContent ?? '';
}

function press(name: string) {
  const buttons = [...document.querySelectorAll('button')];
  buttons.find((b) => (b.getAttribute('aria-label') ?? b.textContent) === name)!.click();
}

function type(testid: string, value: string) {
  const input = all(testid)[0] as HTMLInputElement;
  input.value = value;
  input.dispatchEvent(new Event('input', { bubbles: true }));
}

function submit(testid: string) {
  all(testid)[0]!
    .closest('form')!
    .dispatchEvent(new Event('submit', { bubbles: true, cancelable: true }));
}

/** Waits without moving the test's clock, as vi.waitFor would. */
async function until(ready: () => unknown) {
  const deadline = performance.now() + 10_000;
  while (!ready() && performance.now() < deadline) await new Promise((done) => setTimeout(done, 5));
}

async function sees<T>(look: () => T, want: T) {
  await until(() => JSON.stringify(look()) === JSON.stringify(want));
  expect(look()).toEqual(want);
}

test('a wrong key is refused in words, the right one opens the page', async () => {
  loggedIn = false;
  await open('#/', false);
  await until(() => all('login-key').length);
  expect(asked).toEqual([]);
  type('login-key', 'nonsense');
  submit('login-key');
  await sees(() => document.querySelector('.failure')!.textContent, 'No such key.');
  type('login-key', adminKey);
  submit('login-key');
  await tell();
  await sees(() => text('totals-connections'), '4,311');
  expect(localStorage.getItem('hearth-console')).toBe('ops');
});

test('the end of the session asks for the key', async () => {
  await open();
  await sees(() => text('link'), 'Live');
  loggedIn = false;
  FakeSource.to('/console/api/events')!.onerror?.();
  await until(() => all('login-key').length);
  expect(localStorage.getItem('hearth-console')).toBeNull();
});

test('totals, hot rooms in their order, instances', async () => {
  await open();
  await sees(() => text('totals-backlog'), '6');
  expect(all('totals-backlog')[0]!.dataset.value).toBe('6');
  expect(text('totals-p99')).toBe('14 ms');
  expect(
    all('hot-row')
      .map((r) => r.dataset.group)
      .slice(0, 2),
  ).toEqual(['tea', 'trains']);
  expect(all('hot-row')[0]!.querySelector('a')!.getAttribute('href')).toBe('#/room/tea');
  expect(all('instance-row').map((r) => r.dataset.instance)).toEqual(['a', 'b', 'c']);
  expect(all('instance-state').map((s) => s.textContent)).toEqual(['ready', 'ready', 'ready']);
});

test('a change of rank is shown and said', async () => {
  await open();
  await until(() => all('hot-row').length);
  vi.advanceTimersByTime(4000);
  world.rooms[1]!.heat = 99;
  await tell();
  await sees(
    () =>
      all('hot-row')
        .map((r) => r.dataset.group)
        .slice(0, 2),
    ['trains', 'tea'],
  );
  expect(all('hot-row')[0]!.querySelector('.change')!.textContent).toBe('▲1up 1 place');
});

test('MySQL away: said in words, the backlog rises, and nothing babbles', async () => {
  world.dead = [];
  await open();
  await sees(() => text('backlog-state'), 'MySQL keeps up6 messages on the way.');
  world.mysqlAway = Date.now();
  world.backlog = 4210;
  vi.advanceTimersByTime(12_000);
  await tell();
  await sees(
    () => text('backlog-state'),
    'MySQL away for 12 s4,210 messages wait in Redis; nothing is lost; sending goes on.',
  );
  expect(text('mysql-banner')).toMatch(/^MySQL away for 12 s\. 4,210 messages/);
  expect(all('totals-backlog')[0]!.dataset.value).toBe('4210');
  expect(text('announcement')).toBe('MySQL is away');
  world.mysqlAway = undefined;
  await tell();
  await sees(() => text('announcement'), 'MySQL is back');
  expect(all('mysql-banner')).toEqual([]);
});

test('what is not known is not 0', async () => {
  world.blank = true;
  await open();
  await sees(() => text('link'), 'Live');
  expect(['messages', 'deliveries', 'connections', 'backlog', 'p99'].map((t) => text(`totals-${t}`))).toEqual(
    Array(5).fill('–'),
  );
  expect(text('dead-letters')).toBe('–');
});

test('numbers that are old are told to be', async () => {
  await open();
  await sees(() => text('link'), 'Live');
  vi.advanceTimersByTime(6000);
  await sees(() => text('link'), 'Old numbers');
  expect(text('link-banner')).toMatch(/^These numbers are 6 s old\./);
  await tell();
  await sees(() => text('link'), 'Live');
  expect(all('link-banner')).toEqual([]);
});

test('a room and the totals are one connection, and another view goes on without the room', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  expect(FakeSource.opened.filter((s) => !s.closed).map((s) => s.url)).toEqual(['/console/api/events?group=tea']);
  location.hash = '#/';
  await sees(() => FakeSource.opened.filter((s) => !s.closed).map((s) => s.url), ['/console/api/events']);
});

test('a room: messages with their seqs, holes, viewers', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  FakeSource.to('group=tea')!.tell('page', world.page('tea'));
  await until(() => all('room-message').length);
  expect(all('room-message').length).toBe(50);
  expect(all('room-message').at(-1)!.dataset.seq).toBe('64');
  expect(all('hole').map((h) => [h.dataset.from, h.dataset.to])).toEqual([['31', '34']]);
  expect(text('room-viewers')).toBe('120');
  expect(text('room-max-seq')).toBe('64');
});

test('sending, and recalling in two steps', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  const source = FakeSource.to('group=tea')!;
  source.tell('page', world.page('tea'));
  await until(() => all('room-text').length);
  type('room-text', 'good evening');
  await until(() => !(all('room-send')[0] as HTMLButtonElement).disabled);
  submit('room-text');
  await sees(() => text('announcement'), 'Sent as message 65');
  source.tell('page', world.page('tea', 64));
  await sees(() => all('room-message').at(-1)!.querySelector('.body')!.textContent, 'good evening');
  press('Recall message 65');
  await until(() => all('recall-yes').length);
  expect(asked).not.toContain('POST /console/api/groups/tea/recall');
  all('recall-yes')[0]!.click();
  await sees(() => all('room-message').at(-1)!.dataset.recalled, 'true');
  expect(world.page('tea', 64)!.messages[0]!.body).toBeUndefined();
});

test('what somebody else recalls is shown as recalled', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  const source = FakeSource.to('group=tea')!;
  source.tell('page', world.page('tea'));
  await until(() => all('room-message').length);
  const recalls = [{ seq: 64, recalled_ms: Date.now(), recalled_by: 'eve' }];
  source.tell('page', { ...world.page('tea', 64), recalls });
  await sees(() => all('room-message').at(-1)!.dataset.recalled, 'true');
  expect(all('room-message').at(-1)!.querySelector('.recalled')!.textContent).toBe('recalled by eve');
});

test('a send whose answer was lost is repeated under its id', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  FakeSource.to('group=tea')!.tell('page', world.page('tea'));
  await until(() => all('room-text').length);
  type('room-text', 'once');
  await until(() => !(all('room-send')[0] as HTMLButtonElement).disabled);
  world.loseAnswers = true;
  submit('room-text');
  await sees(() => document.querySelector('.composer [role="alert"]')?.textContent, 'Redis does not answer.');
  world.loseAnswers = false;
  submit('room-text');
  await sees(() => text('announcement'), 'Sent as message 65');
  expect(world.page('tea')!.max_seq).toBe(65);
});

test('the keyboard gets to the message field without going through the messages', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  FakeSource.to('group=tea')!.tell('page', world.page('tea'));
  await until(() => all('room-text').length);
  press('Skip to the message field');
  expect(document.activeElement).toBe(all('room-text')[0]);
});

test('ids of dots alone are no folders', async () => {
  await open('#/inspect/group/..');
  await until(() => asked.some((a) => a.includes('/groups/')));
  expect(asked).toContain('GET /console/api/groups/%252e%252e');
});

test('a room that breaks off goes on from its last seq', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  FakeSource.to('group=tea')!.tell('page', world.page('tea'));
  FakeSource.to('group=tea')!.onerror?.();
  await until(() => FakeSource.to('group=tea'));
  expect(FakeSource.to('group=tea')!.url).toMatch(/events\?group=tea&after_seq=64&recalled_after_ms=\d+$/);
});

test('a room that is dismissed is said to be, and asked for no more', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  const source = FakeSource.to('group=tea')!;
  source.tell('page', world.page('tea'));
  await until(() => all('room-message').length);
  world.rooms.shift();
  source.tell('refused', { code: 'gone', detail: 'dismissed' });
  await sees(() => document.querySelector('[role="alert"]')?.textContent, 'There is no group “tea”.');
  expect(all('room-message')).toEqual([]);
  await sees(() => FakeSource.to('group=tea') === undefined, true);
});

test('another room is another stream, by the address', async () => {
  await open('#/room/tea');
  await until(() => FakeSource.to('group=tea'));
  location.hash = '#/room/trains';
  await until(() => FakeSource.to('group=trains'));
  expect(FakeSource.to('group=tea')).toBeUndefined();
  location.hash = '#/room/nowhere';
  await sees(() => document.querySelector('[role="alert"]')?.textContent, 'There is no group “nowhere”.');
  expect(FakeSource.to('group=nowhere')).toBeUndefined();
});

test('the inspector: a group and a user', async () => {
  await open('#/inspect/group/tea');
  await sees(() => text('inspect-max-seq'), '64');
  expect(text('inspect-persisted-seq')).toBe('63');
  expect(text('inspect-unwritten')).toBe('Range64Messages1');
  expect(text('inspect-hole')).toBe('31–344lost');
  location.hash = '#/inspect/user/ann';
  await sees(() => all('inspect-connection').length, 2);
  expect(
    all('inspect-user-group')
      .map((g) => g.dataset.group)
      .slice(0, 2),
  ).toEqual(['tea', 'trains']);
});

test('the holes of dead letters are told as such, and nobody says that all is in MySQL', async () => {
  world.dead = [{ group: 'tea', seq: 32 }];
  await open('#/inspect/group/tea');
  await sees(() => text('inspect-hole'), '31–344lost; dead letters at 32: can be retried');
  expect(document.querySelector('.columns')!.textContent).toMatch(/MySQL refused 1 message: dead letter/);
  expect(all('totals-backlog')[0]!.closest('.tile')!.textContent).toMatch(/1 dead letter$/);
});

test('dead letters are retried', async () => {
  await open();
  await sees(() => all('dead-letter').map((d) => [d.dataset.group, d.dataset.seq]), [['chess', '1204']]);
  press('Retry chess 1,204');
  await sees(() => document.querySelector('.result')?.textContent, 'chess: 1 stored, 0 refused again.');
  await tell();
  await sees(() => all('dead-letter'), []);
  expect(document.querySelector('.result')?.textContent).toBe('chess: 1 stored, 0 refused again.');
});

test('the configuration, and a key in it', async () => {
  await open('#/config');
  await until(() => text('config').includes('internal_addr'));
  const search = document.querySelector<HTMLInputElement>('[type="search"]')!;
  search.value = 'password';
  search.dispatchEvent(new Event('input', { bubbles: true }));
  await sees(() => text('config'), "redis:\n  password: '***'\n");
});
