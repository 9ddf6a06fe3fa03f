import type { FollowOptions, Hearth, Message, SubscribedPage } from 'hearth-chat';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Room } from '../chat/room';

/** As much of a client and a group as a room uses; the test says what comes. */
function fake(page: { messages: Message[]; max_seq: number; more?: boolean } | undefined) {
  let told: FollowOptions = {};
  const listeners = new Map<string, (event: never) => void>();
  let unread: (u: { unread: number }) => void = () => {};
  const on = (name: string, listener: (event: never) => void) => {
    listeners.set(name, listener);
    return () => listeners.delete(name);
  };
  let resolve = (_: { seq: number }) => {};
  let reject = (_: Error) => {};
  const promise = new Promise<{ seq: number }>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  const sent = {
    promise,
    resolve: (receipt: { seq: number }) => resolve(receipt),
    reject: (error: Error) => reject(error),
  };
  const group = {
    page: vi.fn(async () => {
      if (!page) throw new Error('not found');
      return { more: false, holes: [], ...page };
    }),
    follow: (options: FollowOptions) => {
      told = options;
      return () => {};
    },
    watchUnread: (listener: typeof unread) => {
      unread = listener;
      return () => {};
    },
    on,
    onTyping: () => () => {},
    readers: vi.fn(async () => ({ users: ['eve'] })),
    markRead: vi.fn(async () => ({})),
    send: vi.fn(() => Object.assign(sent.promise, { clientId: 'c1' })),
  };
  const hearth = { group: () => group, on, http: vi.fn(async () => ({})), call: vi.fn(async () => ({ holes: [] })) };
  return {
    hearth: hearth as unknown as Hearth,
    group,
    http: hearth.http,
    call: hearth.call,
    sent,
    message: (message: Message) => told.onMessage!(message),
    hole: (from: number, to: number, reason?: 'lost') => told.onHole!({ from, to, ...(reason && { reason }) }),
    live: (max_seq: number, role: 'member' | null = 'member') => told.onLive!({ max_seq, role } as SubscribedPage),
    recalled: (seq: number) => told.onRecall!({ group: 'tea', seq, by: 'bob', time_ms: 9 }),
    event: (name: string, event: object) => listeners.get(name)!(event as never),
    unread: (n: number) => unread({ unread: n }),
    after: () => told.after,
  };
}

const from = (user: string, seq: number, more: Partial<Message> = {}) =>
  ({ group: 'tea', seq, time_ms: seq, from: user, body: [{ type: 'text', text: `${seq}` }], ...more }) as Message;

const range = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => from('bob', first + i));

async function roomOf(server: ReturnType<typeof fake>, caughtUp = () => {}): Promise<Room> {
  const room = new Room('tea', 'ann', 'dev-1', server.hearth, caughtUp);
  await vi.waitFor(() => expect(room.loaded.value).toBe(true));
  return room;
}

const shown = (room: Room) =>
  room.entries.value.map((entry) => (entry.kind === 'note' ? entry.text : entry.kind === 'hole' ? 'hole' : entry.at));

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

test('a room begins with its newest page, and goes on behind it', async () => {
  const server = fake({ messages: [from('bob', 40), from('bob', 41)], max_seq: 41, more: true });
  const room = await roomOf(server);
  expect(server.after()).toBe(41);
  server.message(from('bob', 42));
  expect(shown(room)).toEqual([40, 41, 42]);
  expect([room.position.value, room.maxSeq.value, room.more.value]).toEqual([42, 42, true]);
});

test('a room that is not there yet begins at the beginning', async () => {
  const server = fake(undefined);
  const room = await roomOf(server);
  expect(server.after()).toBe(0);
  server.live(0, null);
  expect(shown(room)).toEqual([]);
});

test('who only looks does not join, who speaks does, and once', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  server.live(0, null);
  await vi.advanceTimersByTimeAsync(5000);
  expect(server.http).not.toHaveBeenCalled();
  const sends = [room.send([{ type: 'text', text: 'hi' }]), room.send([{ type: 'text', text: 'hi' }])];
  server.sent.resolve({ seq: 1 });
  await Promise.all(sends);
  expect(server.http.mock.calls).toEqual([['POST', '/groups/tea/join']]);
});

test('a member does not join again, and who could not tries at his next message', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  server.sent.resolve({ seq: 1 });
  server.live(0, 'member');
  await room.send([{ type: 'text', text: 'hi' }]);
  expect(server.http).not.toHaveBeenCalled();
  server.live(0, null);
  server.http.mockRejectedValueOnce(new Error('unavailable'));
  await room.send([{ type: 'text', text: 'hi' }]);
  await room.send([{ type: 'text', text: 'hi' }]);
  expect(server.http).toHaveBeenCalledTimes(2);
});

test('catching up is told, with what it brought', async () => {
  const caughtUp = vi.fn();
  const server = fake({ messages: [from('bob', 41)], max_seq: 41 });
  const room = await roomOf(server, caughtUp);
  server.live(41);
  expect(caughtUp).not.toHaveBeenCalled();
  room.lost();
  vi.advanceTimersByTime(12_000);
  server.message(from('bob', 42));
  server.message(from('bob', 43));
  server.live(43);
  expect(caughtUp).toHaveBeenCalledOnce();
  expect(shown(room).at(-1)).toBe(
    'You were away for 12 seconds. subscribe after_seq 41 brought #42…#43: nothing missing.',
  );
  const missed = room.entries.value.filter((entry) => entry.kind === 'message' && entry.missed);
  expect(missed.map(({ at }) => at)).toEqual([42, 43]);
});

test('another instance is told by its name; where nobody spoke nothing was caught up', async () => {
  const caughtUp = vi.fn();
  const server = fake({ messages: [], max_seq: 7 });
  const room = await roomOf(server, caughtUp);
  server.live(7);
  room.lost();
  server.event('welcome', { instance: 'dev-2' });
  server.live(7);
  expect(shown(room)).toEqual([
    'You are at dev-2 now, with the same last seq. subscribe after_seq 7 brought nothing: nobody spoke.',
  ]);
  expect(caughtUp).not.toHaveBeenCalled();
});

test('who is too slow for the server catches up, too', async () => {
  const server = fake({ messages: [], max_seq: 7 });
  const room = await roomOf(server);
  server.live(7);
  server.event('resync', { groups: [{ group: 'music' }] });
  server.live(7);
  expect(shown(room)).toEqual([]);
  server.event('resync', { groups: [{ group: 'tea' }] });
  server.live(7);
  expect(shown(room)).toHaveLength(1);
});

test('a slow reader takes one a second, in order, and all when he hurries', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  room.slow(true);
  vi.advanceTimersByTime(1000);
  for (let seq = 1; seq <= 5; seq++) server.message(from('bob', seq));
  expect([shown(room), room.waiting.value]).toEqual([[1], 4]);
  vi.advanceTimersByTime(2000);
  expect([shown(room), room.waiting.value]).toEqual([[1, 2, 3], 2]);
  room.slow(false);
  expect([shown(room), room.waiting.value, room.position.value]).toEqual([[1, 2, 3, 4, 5], 0, 5]);
});

test('what is recalled is not shown by a slow reader afterwards', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  room.slow(true);
  server.message(from('bob', 1));
  server.message(from('bob', 2));
  server.recalled(2);
  const last = room.entries.value.at(-1)!;
  expect(last.kind === 'message' && last.message.body).toBeUndefined();
});

test('a hole that a push tells gets its reason', async () => {
  const server = fake({ messages: [], max_seq: 1 });
  server.call.mockResolvedValueOnce({ holes: [{ from: 2, to: 9, reason: 'lost' }] as never });
  const room = await roomOf(server);
  server.hole(2, 9);
  server.message(from('bob', 10));
  expect(server.call).toHaveBeenCalledWith('pull', { group: 'tea', after_seq: 1, limit: 1 });
  await vi.waitFor(() => expect(room.entries.value[0]).toMatchObject({ hole: { reason: 'lost' } }));
  expect(shown(room)).toEqual(['hole', 10]);
});

test('whoever asks for older messages sees them, however many there are', async () => {
  const server = fake({ messages: range(1051, 2050), max_seq: 2050, more: true });
  const room = await roomOf(server);
  server.group.page.mockResolvedValueOnce({ messages: range(1001, 1050), holes: [], max_seq: 2050, more: true });
  await room.older();
  expect(shown(room).at(0)).toBe(1001);
  server.message(from('bob', 2051));
  expect(shown(room)).toHaveLength(1050); // no more than was asked for
  expect(room.more.value).toBe(true);
});

test('what is written is shown until it comes back', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  void room.send([{ type: 'text', text: 'hi' }]);
  expect(room.drafts.value).toMatchObject([{ clientId: 'c1' }]);
  server.sent.resolve({ seq: 1 });
  await vi.waitFor(() => expect(room.drafts.value).toMatchObject([{ seq: 1 }]));
  server.message(from('ann', 1, { client_id: 'c1' }));
  expect(room.drafts.value).toEqual([]);
});

test('what is refused stays, and is tried again with its client_id', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  void room.send([{ type: 'text', text: 'hi' }], ['bob']);
  server.sent.reject(new Error('you are muted'));
  await vi.waitFor(() => expect(room.drafts.value).toMatchObject([{ error: 'you are muted' }]));
  server.group.send.mockReturnValue(Object.assign(new Promise<never>(() => {}), { clientId: 'c1' }));
  room.retry(room.drafts.value[0]!);
  expect(room.drafts.value).toEqual([{ clientId: 'c1', body: [{ type: 'text', text: 'hi' }], mentions: ['bob'] }]);
  expect(server.group.send).toHaveBeenLastCalledWith(expect.anything(), { clientId: 'c1', mentions: ['bob'] });
});

test('only what somebody looks at is marked as read, and once', async () => {
  const server = fake({ messages: [], max_seq: 0 });
  const room = await roomOf(server);
  server.live(0);
  server.message(from('bob', 1));
  server.unread(1);
  await vi.advanceTimersByTimeAsync(5000);
  expect(server.group.markRead).not.toHaveBeenCalled();
  room.watch(true);
  await vi.advanceTimersByTimeAsync(5000);
  room.watch(false);
  await vi.advanceTimersByTimeAsync(5000);
  expect(server.group.markRead.mock.calls).toEqual([[1]]);
});

test('readers are those who said so, those who wrote behind it, and those the server knows of', async () => {
  const server = fake({ messages: [from('ann', 1), from('bob', 2)], max_seq: 2 });
  const room = await roomOf(server);
  expect(room.readersOf(from('ann', 1))).toEqual(['bob']);
  server.event('read', { group: 'tea', user: 'cy', seq: 2 });
  expect(room.readersOf(from('ann', 1))).toEqual(['bob', 'cy']);
  expect(room.readersOf(from('ann', 3))).toEqual([]);
  server.live(2);
  await vi.waitFor(() => expect(room.readersOf(from('ann', 1))).toContain('eve'));
});
