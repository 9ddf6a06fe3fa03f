// Against a real server: `hearth dev`, two instances.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import WebSocket from 'ws';
import {
  type Conversation,
  connect,
  type Events,
  type Hearth,
  HearthError,
  type Hole,
  type Message,
  type Readers,
  type SocketConstructor,
  type State,
  textOf,
  type Unread,
} from '../src/index';
import { CuttingProxy, Dev, randomOf } from './dev';

let dev: Dev;
const open: { close(): void }[] = [];
const proxies: CuttingProxy[] = [];

beforeAll(async () => {
  dev = await Dev.start();
});
afterAll(async () => {
  await dev?.stop();
});
afterEach(async () => {
  for (const hearth of open.splice(0)) hearth.close();
  for (const proxy of proxies.splice(0)) await proxy.stop();
});

function user(name: string, url: string | string[] = dev.urls): Hearth {
  const webSocket: SocketConstructor = WebSocket;
  const hearth = connect({ url, token: () => dev.token(name), webSocket });
  open.push(hearth);
  return hearth;
}

/** The next value a subscription brings that fits. */
function next<T>(
  subscribe: (listener: (value: T) => void) => () => void,
  fits: (value: T) => boolean = () => true,
): Promise<T> {
  return new Promise((resolve) => {
    const off = subscribe((value) => {
      if (!fits(value)) return;
      off();
      resolve(value);
    });
  });
}

/** Enters a room, which makes it when it is not there, and stays. */
function enter(hearth: Hearth, room: string): Promise<unknown> {
  return new Promise((resolve) => hearth.group(room).follow({ onLive: resolve }));
}

async function take(messages: AsyncIterable<Message>, n: number): Promise<Message[]> {
  const taken: Message[] = [];
  for await (const message of messages) {
    taken.push(message);
    if (taken.length === n) break;
  }
  return taken;
}

describe('with connections that are cut at random', () => {
  test.each([1, 2, 3])(
    'nothing is missing, twice or out of order (seed %d)',
    async (seed) => {
      const random = randomOf(seed);
      for (const url of dev.urls) proxies.push(await CuttingProxy.to(url, random));
      const urls = proxies.map((p) => p.url);
      const room = `cut-${seed}`;
      const users = ['ann', 'bob', 'cy'].map((name, i) => ({
        name,
        hearth: user(name, [urls[i % 2]!, urls[(i + 1) % 2]!]),
        holes: [] as Hole[],
      }));
      const each = 40;
      const total = each * users.length;
      for (const proxy of proxies) proxy.cutting = true;
      const read = users.map(({ hearth, holes }) => {
        return take(hearth.group(room).messages({ after: 0, onHole: (h) => holes.push(h) }), total);
      });
      const sends = users.map(async ({ name, hearth }) => {
        const receipts = [];
        for (let i = 0; i < each; i += 5) {
          const batch = [0, 1, 2, 3, 4].map((j) => hearth.group(room).send(`${name} ${i + j}`));
          receipts.push(...(await Promise.all(batch)));
        }
        return receipts;
      });
      const receipts = (await Promise.all(sends)).flat();
      for (const proxy of proxies) proxy.cutting = false;
      const seen = await Promise.all(read);

      const texts = new Map(seen[0]!.map((m) => [m.seq, textOf(m)]));
      expect(new Set(texts.values()).size).toBe(total);
      expect(receipts.map((r) => r.seq).sort((a, b) => a - b)).toEqual([...texts.keys()]);
      for (const [i, messages] of seen.entries()) {
        expect(messages.map((m) => m.seq)).toEqual([...texts.keys()]);
        expect(messages.map(textOf)).toEqual([...texts.values()]);
        expect(users[i]!.holes).toEqual([]);
      }
      for (const { name } of users) {
        const mine = [...texts.values()].filter((text) => text.startsWith(`${name} `));
        expect(mine).toEqual(Array.from({ length: each }, (_, i) => `${name} ${i}`));
      }
      const cuts = proxies.reduce((sum, p) => sum + p.cuts, 0);
      console.log(`seed ${seed}: ${total} messages, ${cuts} cuts`);
      expect(cuts).toBeGreaterThan(3);
    },
    180_000,
  );
});

test('every op is answered as the types say', async () => {
  const ann = user('ann-ops');
  const bob = user('bob-ops');
  const room = ann.group('ops');
  await enter(bob, 'ops');
  await enter(ann, 'ops');
  const typed = next<string[]>((done) => bob.group('ops').onTyping(done));
  room.typing();
  expect(await typed).toEqual(['ann-ops']);

  const received = next<Message>(
    (done) => bob.on('message', done),
    (m) => m.group === 'ops',
  );
  const pending = room.send([{ type: 'custom', data: { a: 1 } }], { mentions: ['bob-ops'], ack: 'durable' });
  const receipt = await pending;
  expect(receipt).toMatchObject({ group: 'ops', duplicate: false, durable: true });
  expect(await received).toMatchObject({ seq: receipt.seq, client_id: pending.clientId, mentions: ['bob-ops'] });

  expect(await bob.group('ops').head()).toMatchObject({ group: 'ops', max_seq: receipt.seq, unread: 1 });
  expect(await bob.group('ops').markRead(receipt.seq)).toMatchObject({ read_seq: receipt.seq, unread: 0 });

  const recalled = next<{ seq: number }>((done) => bob.group('ops').on('recall', done));
  await room.recall(receipt.seq);
  expect((await recalled).seq).toBe(receipt.seq);
  for await (const page of room.history()) {
    expect(page.messages.at(-1)).toMatchObject({ seq: receipt.seq, recalled_by: 'ann-ops' });
  }
  expect((await ann.presence(['bob-ops']))['bob-ops']).toMatchObject({ online: true });
  await expect(room.send('x'.repeat(13_000))).rejects.toMatchObject({ code: 'too_large', retryable: false });
});

test('a direct conversation: followed before it is there, unread, receipts, the list', async () => {
  const ann = user('ann-dm');
  const bob = user('bob-dm');
  const first = take(bob.direct('ann-dm').messages({ after: 0 }), 2);
  const { group } = await ann.direct('bob-dm').send('hello');
  await ann.direct('bob-dm').send('are you there?');
  expect((await first).map(textOf)).toEqual(['hello', 'are you there?']);
  expect(group).toBe('dm:ann-dm:bob-dm');
  const [conversation] = await bob.conversations();
  expect(conversation).toMatchObject({ group, type: 'direct', unread: 2, max_seq: 2 });
  const receipt = next<{ user: string; seq: number }>((done) => ann.direct('bob-dm').on('read', done));
  await bob.direct('ann-dm').markRead(2);
  expect(await receipt).toMatchObject({ user: 'bob-dm', seq: 2 });
});

test('unread and receipts are counted as the server counts them', async () => {
  const ann = user('ann-unread');
  const bob = user('bob-unread', dev.urls[1]!);
  const { group } = await ann.http<{ group: string }>('POST', '/groups', {
    type: 'group',
    name: 'Unread',
    members: ['bob-unread'],
  });
  const list = next<Conversation[]>(
    (done) => bob.watchConversations(done),
    ([line]) => line?.group === group && line.unread === 3 && line.max_seq === 3,
  );
  const unread = (n: number) =>
    next<Unread>(
      (done) => bob.group(group).watchUnread(done),
      (now) => now.unread === n && now.max_seq === 3,
    );
  const all = unread(3);
  for (const text of ['one', 'two', 'three']) await ann.group(group).send(text, { mentions: ['bob-unread'] });
  expect((await list)[0]).toMatchObject({ name: 'Unread', mentioned_seq: 3, last_message: { seq: 3 } });
  const read = next<Readers>(
    (done) => ann.group(group).watchReaders({ seq: 2, from: 'ann-unread' }, done),
    ({ read_count }) => read_count === 1,
  );
  await all;
  const one = unread(1);
  await bob.group(group).markRead(2);
  expect(await one).toMatchObject({ group, read_seq: 2 });
  expect(await read).toEqual({ seq: 2, read_count: 1, users: ['bob-unread'] });
  const none = unread(0);
  await bob.group(group).markRead(3);
  expect(await none).toMatchObject({ group, read_seq: 3 });
  expect(await ann.group(group).readers(3)).toEqual({ seq: 3, read_count: 1, users: ['bob-unread'] });
});

test("the list of conversations is the server's, whatever is sent, read, recalled and cut", async () => {
  const random = randomOf(7);
  const pick = (n: number) => Math.floor(random() * n);
  const cutting = await CuttingProxy.to(dev.urls[0]!, random);
  proxies.push(cutting);
  const names = ['ann-list', 'bob-list', 'cy-list'];
  const [ann, bob, cy] = [user(names[0]!), user(names[1]!, cutting.url), user(names[2]!, dev.urls[1]!)] as const;
  const groups: string[] = [];
  for (const name of ['one', 'two', 'three']) {
    const made = await ann.http<{ group: string }>('POST', '/groups', { type: 'group', name, members: names.slice(1) });
    groups.push(made.group);
  }
  let seen: Conversation[] = [];
  bob.watchConversations((list) => {
    seen = list;
  });
  const other = user('bob-list', dev.urls[1]!); // another device
  cutting.cutting = true;
  for (let step = 0; step < 120; step++) {
    const group = groups[pick(groups.length)]!;
    const by = [ann, bob, cy, other][pick(4)]!;
    switch (pick(6)) {
      case 0:
        await by.group(group).markRead(1 + pick(40));
        break;
      case 1:
        await by
          .group(group)
          .recall(1 + pick(40))
          .catch(() => {}); // another's, or not there
        break;
      default:
        await by.group(group).send(`${step}`, { mentions: pick(3) === 0 ? ['bob-list'] : [] });
    }
  }
  cutting.cutting = false;
  expect(cutting.cuts).toBeGreaterThan(3);
  const expected = await other.conversations();
  await vi.waitFor(() => expect(seen).toEqual(expected), { timeout: 60_000, interval: 50 });
});

test('recalls made while the client was away are told when it is back', async () => {
  const ann = user('ann-away');
  const bob = user('bob-away');
  await enter(ann, 'away');
  const { seq } = await ann.group('away').send('oops');
  let tell: (seq: number) => void = () => {};
  const recalled = new Promise<number>((resolve) => {
    tell = resolve;
  });
  const shown = next<Message>(
    (done) => bob.group('away').follow({ after: 0, onMessage: done, onRecall: (r) => tell(r.seq) }) && (() => {}),
  );
  await shown;
  const lost = state(bob, 'waiting');
  bob.drop(Number.POSITIVE_INFINITY);
  await lost;
  await ann.group('away').recall(seq);
  bob.reconnect();
  expect(await recalled).toBe(seq);
});

/** What the client says next of its connection, in this state. */
function state(hearth: Hearth, name: State['state']): Promise<State> {
  return next<State>(
    (done) => hearth.on('state', done),
    (now) => now.state === name,
  );
}

test('a token that is refused is asked for again', async () => {
  const tokens = ['no.token.atall', await dev.token('ann-token')];
  const webSocket: SocketConstructor = WebSocket;
  const hearth = connect({ url: dev.urls[0]!, token: () => tokens.shift()!, webSocket });
  open.push(hearth);
  expect(await state(hearth, 'waiting')).toMatchObject({ code: 0 });
  await hearth.online();
  expect([hearth.user, tokens]).toEqual(['ann-token', []]);
});

test('who is removed by an admin does not come back', async () => {
  const hearth = user('ann-kicked');
  await hearth.online();
  const closed = state(hearth, 'closed');
  const loop = take(hearth.group('kicked').messages(), 1);
  await fetch(`${dev.urls[1]}/v1/users/ann-kicked/connections`, {
    method: 'DELETE',
    headers: { Authorization: `Bearer ${dev.key}` },
  });
  expect(await closed).toMatchObject({ code: 4503 });
  await expect(loop).rejects.toMatchObject({ code: 'closed', closeCode: 4503 });
});

test('a server that ends says goodbye', async () => {
  const other = await Dev.start(dev.binary);
  onTestFinished(() => other.stop());
  const webSocket: SocketConstructor = WebSocket;
  const hearth = connect({ url: other.urls, token: () => other.token('ann'), webSocket });
  open.push(hearth);
  await hearth.online();
  const waiting = state(hearth, 'waiting');
  await other.stop();
  expect((await waiting).code).toBe(4000);
});

test('a picture is uploaded, sent and there for the others', async () => {
  const ann = user('ann-picture');
  const bob = user('bob-picture', dev.urls[1]!);
  await enter(bob, 'pictures');
  const shown = take(bob.group('pictures').messages({ after: 0 }), 1);
  const png = Uint8Array.from(
    atob('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='),
    (c) => c.charCodeAt(0),
  );
  const { url, bytes } = await ann.upload(new File([png], 'dot.png', { type: 'image/png' }));
  await ann.group('pictures').send([{ type: 'image', url, bytes, width: 1, height: 1 }]);
  const [element] = (await shown)[0]!.body!;
  if (element?.type !== 'image') throw new Error('no picture');
  const response = await fetch(bob.absolute(element.url));
  expect(response.headers.get('Content-Type')).toBe('image/png');
  expect(new Uint8Array(await response.arrayBuffer())).toEqual(png);
  await expect(ann.upload(png, { type: 'application/x-nonsense' })).rejects.toMatchObject({ code: 'bad_request' });
});

test('the HTTP routes answer as the user', async () => {
  const ann = user('ann-http');
  const { group } = await ann.http<{ group: string }>('POST', '/groups', { type: 'group', name: 'Team' });
  expect(await ann.http('GET', `/groups/${group}`)).toMatchObject({ name: 'Team', owner: 'ann-http' });
  await expect(user('eve-http').http('GET', `/groups/${group}`)).rejects.toMatchObject({ code: 'not_member' });
});

test('the hot rooms come', async () => {
  const ann = user('ann-hot');
  await enter(ann, 'hottest');
  await ann.group('hottest').send('here');
  const hot = await new Promise<Events['hot'] | HearthError>((resolve) => {
    const listener = (event: Events['hot']) => event.groups.some((g) => g.group === 'hottest') && resolve(event);
    ann.watchHot(listener, { limit: 50, onError: resolve });
  });
  if (hot instanceof HearthError) throw hot;
  expect(hot.groups.find((g) => g.group === 'hottest')?.heat).toBe(1);
});

test.each(['README.md', '../../README.md'])(
  'the example of %s runs as it stands, on the built package',
  async (file) => {
    await enter(user('host'), 'lobby');
    const folder = fileURLToPath(new URL('..', import.meta.url));
    const example = readFileSync(folder + file, 'utf8').match(/```js\n([\s\S]*?)```/)![1]!;
    expect(example.trimEnd().split('\n').length).toBeLessThanOrEqual(15);
    const flags = Number(process.versions.node.split('.')[0]) < 22 ? ['--experimental-websocket', '--no-warnings'] : [];
    const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', example], {
      cwd: folder,
      env: { ...process.env, HEARTH_URL: dev.urls[1], HEARTH_TOKEN: await dev.token('reader') },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    for await (const chunk of child.stdout) text += chunk;
    expect(text).toMatch(/^\d+ reader hello\n$/);
  },
);
