import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Conversation, Hearth, Readers, Unread } from '../src/index';
import { randomOf } from './dev';
import { FakeServer, type Obj, range, refused } from './fake';

let server: FakeServer;
let hearth: Hearth;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  server.handlers.set('sync', ({ groups }) => ({ ok: groups ? { results: heads(groups) } : { results: list() } }));
  server.handlers.set('read', ({ group, seq }) => {
    marks.set(group, Math.max(seq, marks.get(group) ?? 0));
    return { ok: { group, read_seq: marks.get(group), unread: unreadOf(group) } };
  });
  marks = new Map();
});

afterEach(() => {
  hearth?.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const later = (ms = 1000) => vi.advanceTimersByTimeAsync(ms);
const syncs = () => server.requests.filter((r) => r.op === 'sync');

// What the server knows of the user.
let marks: Map<string, number>;

function unreadOf(group: string): number {
  return server.log(group).filter((m) => m.seq > (marks.get(group) ?? 0)).length;
}

function headOf(group: string): Obj {
  const max_seq = server.log(group).at(-1)?.seq ?? 0;
  return { group, max_seq, read_seq: marks.get(group) ?? 0, unread: unreadOf(group) };
}

function heads(groups: Obj): Obj[] {
  return Object.keys(groups).map((group) =>
    server.logs.has(group) ? { ...headOf(group), min_seq: 1, messages: [], holes: [], more: false } : gone(group),
  );
}

const gone = (group: string) => ({ group, error: refused('not_found').error });

/** The latest first, as the server lists. */
function list(): Obj[] {
  const lines = [...server.logs].map(([group, log]) => ({ group, log, at: times.get(group) ?? 0 }));
  lines.sort((a, b) => b.at - a.at);
  return lines.map(({ group, log }) => ({ ...headOf(group), type: 'group', name: group, last_message: log.at(-1) }));
}

const times = new Map<string, number>();
let clock = 0;

function say(group: string, more: Obj = {}): void {
  times.set(group, ++clock);
  server.say(group, 'x', more);
}

/** The user is subscribed to his groups from the welcome on. */
function enter(...groups: string[]): void {
  for (const group of groups) server.last.subscribed.add(group);
}

/** Answers with what was so when it was asked, behind what was pushed since. */
function slowly(op: string, answer: (request: Obj) => Obj): void {
  server.handlers.set(op, (request, socket) => {
    const ok = answer(request);
    setTimeout(() => socket.write({ id: request.id, ok }), 20);
    return undefined;
  });
}

function watch() {
  const seen: Conversation[][] = [];
  const stop = hearth.watchConversations((l) => seen.push(l));
  return { seen, stop, last: () => seen.at(-1)!.map((c) => `${c.group} ${c.unread}/${c.max_seq}`) };
}

describe('the list of conversations', () => {
  test('is told at once, and again as messages come, the latest first', async () => {
    for (const _ of range(1, 3)) say('tea');
    say('pot');
    hearth = server.connect();
    const w = watch();
    await later(100);
    enter('tea', 'pot');
    expect(w.last()).toEqual(['pot 1/1', 'tea 3/3']);
    say('tea');
    say('tea', { mentions: ['me'] });
    await later(100);
    expect(w.last()).toEqual(['tea 5/5', 'pot 1/1']);
    expect(w.seen.at(-1)![0]).toMatchObject({ mentioned_seq: 5, last_message: { seq: 5, from: 'bob' } });
    expect(w.seen.at(-1)![0]!.last_message).not.toHaveProperty('event');
    expect(syncs()).toHaveLength(1);
    w.stop();
    say('tea');
    await later(100);
    expect(w.last()).toEqual(['tea 5/5', 'pot 1/1']);
  });

  test('counts nothing twice or not at all while it is asked for', async () => {
    for (let at = 0; at < 30; at++) {
      server = new FakeServer();
      slowly('sync', () => ({ results: list() }));
      say('tea');
      hearth = server.connect();
      await later(100);
      enter('tea');
      const w = watch();
      await later(at);
      say('tea');
      say('tea');
      await later(100);
      expect(w.last(), `${at} ms behind the question`).toEqual(['tea 3/3']);
      hearth.close();
    }
  });

  test('is asked for again on every connection', async () => {
    say('tea');
    hearth = server.connect();
    const w = watch();
    await later(100);
    server.last.cut();
    say('tea');
    await later();
    expect(w.last()).toEqual(['tea 2/2']);
    expect(syncs()).toHaveLength(2);
  });

  test('knows what is read, here and on other devices', async () => {
    for (const _ of range(1, 9)) say('tea', { mentions: ['*'] });
    say('pot');
    hearth = server.connect();
    const w = watch();
    await later(100);
    enter('tea', 'pot');
    say('tea', { mentions: ['me'] });
    await later(100);
    void hearth.group('tea').markRead(4);
    await later(100);
    expect(w.last()).toEqual(['tea 6/10', 'pot 1/1']);
    expect(w.seen.at(-1)![0]!.mentioned_seq).toBe(10);
    marks.set('tea', 10);
    server.last.write({ event: 'read', group: 'tea', user: 'bob', seq: 10 });
    server.last.write({ event: 'read', group: 'tea', user: 'me', seq: 10 });
    await later(100);
    expect(w.last()).toEqual(['tea 0/10', 'pot 1/1']);
    expect(w.seen.at(-1)![0]!.mentioned_seq).toBeUndefined();
    expect(syncs().map((r) => r.groups)).toEqual([undefined, { tea: Number.MAX_SAFE_INTEGER }]);
  });

  test('counts what comes while a part is read', async () => {
    slowly('sync', ({ groups }) => ({ results: groups ? heads(groups) : list() }));
    for (let at = 0; at < 40; at++) {
      for (const _ of range(1, 5)) say(`tea${at}`);
      hearth = server.connect();
      const w = watch();
      await later(100);
      enter(`tea${at}`);
      void hearth.group(`tea${at}`).markRead(2);
      await later(at);
      say(`tea${at}`);
      await later(100);
      expect(w.last()[0], `${at} ms behind the mark`).toEqual(`tea${at} 4/6`);
      hearth.close();
    }
  });

  test("a user's own message is read, one that an app server sent for him is not", async () => {
    say('tea');
    hearth = server.connect();
    const w = watch();
    await later(100);
    enter('tea');
    say('tea', { from: 'me', mentions: ['*'] });
    await later(100);
    expect(w.last()).toEqual(['tea 0/2']);
    expect(w.seen.at(-1)![0]!.mentioned_seq).toBeUndefined();
    say('tea', { from: 'me', operator: 'crm' });
    await later(100);
    expect(w.last()).toEqual(['tea 1/3']);
  });

  test('shows what is recalled', async () => {
    say('tea');
    hearth = server.connect();
    const w = watch();
    await later(100);
    enter('tea');
    server.recall('tea', 1);
    await later(100);
    expect(w.seen.at(-1)![0]!.last_message).toMatchObject({ seq: 1, recalled_by: 'bob' });
    expect(w.seen.at(-1)![0]!.last_message).not.toHaveProperty('body');
  });

  test('has who joins, loses who leaves, and asks again after resync and for a first direct message', async () => {
    say('tea');
    hearth = server.connect();
    const w = watch();
    await later(100);
    say('pot');
    server.last.write({ event: 'group', group: 'pot', change: 'joined', user: 'bob' });
    await later(100);
    expect(w.last()).toEqual(['tea 1/1']);
    server.last.write({ event: 'group', group: 'pot', change: 'joined', user: 'me' });
    await later(100);
    expect(w.last()).toEqual(['pot 1/1', 'tea 1/1']);
    server.logs.delete('tea');
    server.last.write({ event: 'group', group: 'tea', change: 'dismissed', by: 'bob' });
    await later(100);
    expect(w.last()).toEqual(['pot 1/1']);
    server.last.subscribed.add('dm:bob:me').add('lobby');
    say('lobby'); // a room that is read and not joined
    server.logs.delete('lobby');
    say('dm:bob:me');
    await later(100);
    expect(w.last()).toEqual(['dm:bob:me 1/1', 'pot 1/1']);
    say('pot'); // not pushed
    server.last.write({ event: 'resync', groups: [{ group: 'pot' }] });
    await later(100);
    expect(w.last()).toEqual(['pot 2/2', 'dm:bob:me 1/1']);
    expect(syncs()).toHaveLength(5);
  });

  test('is told to each watcher, and once for all that a frame brings', async () => {
    say('tea');
    hearth = server.connect();
    const first = watch();
    await later(100);
    const second = watch();
    await later(100);
    expect(second.last()).toEqual(['tea 1/1']);
    expect(syncs()).toHaveLength(1);
    const told = first.seen.length;
    server.last.write(...range(2, 50).map((seq) => ({ event: 'message', group: 'tea', seq, time_ms: 1, from: 'bob' })));
    await later(100);
    expect(first.seen.length - told).toBe(1);
    expect([first.last(), second.last()]).toEqual([['tea 50/50'], ['tea 50/50']]);
  });
});

test('whatever happens, the list ends up as the server has it', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomOf(seed);
    const pick = (n: number) => Math.floor(random() * n);
    server = new FakeServer();
    marks = new Map();
    const groups = ['a', 'b', 'c'];
    for (const group of groups) {
      server.groups.add(group);
      say(group);
    }
    slowly('sync', ({ groups }) => ({ results: groups ? heads(groups) : list() }));
    const read = (group: string, seq: number) => marks.set(group, Math.max(seq, marks.get(group) ?? 0));
    server.handlers.set('read', ({ group, seq }) => {
      read(group, seq);
      return { ok: { group, read_seq: marks.get(group), unread: unreadOf(group) } };
    });
    hearth = server.connect();
    const w = watch();
    const single: Unread[] = [];
    hearth.group('b').watchUnread((u) => single.push(u));
    for (let step = 0; step < 60; step++) {
      const group = groups[pick(3)]!;
      const seq = 1 + pick(server.log(group).length);
      const own = random() < 0.2;
      switch (pick(7)) {
        case 0:
          void hearth.group(group).markRead(seq);
          break;
        case 1:
          read(group, seq);
          if (server.open.length > 0) server.last.write({ event: 'read', group, user: 'me', seq: marks.get(group) });
          break;
        case 2:
          server.recall(group, seq);
          break;
        case 3:
          server.cutAfter = pick(10);
          break;
        default:
          if (own) read(group, server.log(group).length + 1);
          say(group, own ? { from: 'me' } : {});
      }
      await later(pick(30));
    }
    await later(60_000);
    const expected = list();
    expect(w.seen.at(-1), `seed ${seed}`).toEqual(expected);
    expect(single.at(-1), `seed ${seed}`).toMatchObject(headOf('b'));
    hearth.close();
  }
});

describe('what is unread in a group', () => {
  test('is told at once and as it changes, in no list either', async () => {
    for (const _ of range(1, 3)) say('tea');
    hearth = server.connect();
    const seen: Unread[] = [];
    const stop = hearth.group('tea').watchUnread((u) => seen.push(u));
    await later(100);
    enter('tea');
    say('tea');
    await later(100);
    void hearth.group('tea').markRead(4);
    await later(100);
    expect(seen.map((u) => [u.unread, u.read_seq, u.max_seq])).toEqual([
      [3, 0, 3],
      [4, 0, 4],
      [0, 4, 4],
    ]);
    stop();
    say('tea');
    await later(100);
    expect(seen).toHaveLength(3);
    hearth.group('tea').watchUnread((u) => seen.push(u));
    await later(100);
    expect(seen[3]).toMatchObject({ unread: 1, max_seq: 5 });
  });

  test('is told of a direct conversation from its first message on', async () => {
    hearth = server.connect();
    const seen: Unread[] = [];
    hearth.direct('bob').watchUnread((u) => seen.push(u));
    await later(100);
    enter('dm:bob:me');
    say('dm:bob:me');
    await later(100);
    expect(seen).toMatchObject([{ group: 'dm:bob:me', unread: 1 }]);
  });

  test('outlives the list', async () => {
    say('tea');
    hearth = server.connect();
    const seen: Unread[] = [];
    hearth.group('tea').watchUnread((u) => seen.push(u));
    const w = watch();
    await later(100);
    enter('tea');
    w.stop();
    say('tea');
    await later(100);
    expect(seen.at(-1)).toMatchObject({ unread: 2 });
  });
});

describe('who has read a message', () => {
  let told: Readers;
  let asked: string[];

  beforeEach(() => {
    asked = [];
    told = { seq: 2, read_count: 0 };
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url);
      return new Response(JSON.stringify(told));
    });
  });

  function readers() {
    const seen: Readers[] = [];
    const stop = hearth.group('tea').watchReaders({ seq: 2, from: 'ann' }, (r) => seen.push(r));
    return { seen, stop };
  }

  test('is asked for, and heard from then on', async () => {
    hearth = server.connect();
    await later(100);
    enter('tea');
    const { seen, stop } = readers();
    await later(100);
    expect(asked).toEqual(['http://fake/v1/groups/tea/readers?seq=2']);
    const read = (user: string, seq: number) => server.last.write({ event: 'read', group: 'tea', user, seq });
    read('cy', 1);
    read('bob', 2);
    read('bob', 3);
    read('ann', 3);
    server.say('tea', 'behind it', { seq: 7, from: 'dan' });
    server.say('tea', 'not by herself', { from: 'eve', operator: 'crm' });
    await later(100);
    stop();
    read('zoe', 9);
    await later(100);
    expect(seen).toEqual([
      { seq: 2, read_count: 0, users: [] },
      { seq: 2, read_count: 1, users: ['bob'] },
      { seq: 2, read_count: 2, users: ['bob', 'dan'] },
    ]);
  });

  test('is asked for again on every connection, and told when it is another', async () => {
    hearth = server.connect();
    const { seen } = readers();
    await later(100);
    server.last.cut();
    await later();
    server.last.cut();
    told = { seq: 2, read_count: 1, users: ['bob'] };
    await later();
    expect(asked).toHaveLength(3);
    expect(seen.map((r) => r.users)).toEqual([[], ['bob']]);
  });

  test('is a number when they are many', async () => {
    told = { seq: 2, read_count: 101 };
    hearth = server.connect();
    await later(100);
    const { seen } = readers();
    await later(100);
    expect(seen).toEqual([{ seq: 2, read_count: 101, users: undefined }]);
  });
});

test('several watch the hot rooms: as many rooms as the most wanted, until the last one leaves', async () => {
  hearth = server.connect();
  await later(100);
  const boards: string[] = [];
  const one = hearth.watchHot((b) => boards.push(`one ${b.snapshot}`), { limit: 5 });
  const two = hearth.watchHot((b) => boards.push(`two ${b.snapshot}`), { limit: 10 });
  await later(100);
  server.last.write({ event: 'hot', snapshot: 's', time_ms: 1, window_ms: 1, groups: [] });
  await later(100);
  two();
  two();
  await later(100);
  one();
  await later(100);
  server.last.write({ event: 'hot', snapshot: 't', time_ms: 1, window_ms: 1, groups: [] });
  await later(100);
  expect(boards).toEqual(['one s', 'two s']);
  const asked = server.requests.filter((r) => r.op === 'hot').map((r) => r.limit ?? r.watch);
  expect(asked).toEqual([5, 10, 5, false]);
});
