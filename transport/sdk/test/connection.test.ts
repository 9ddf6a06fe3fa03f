import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ClosedError, type Hearth, HearthError, type State } from '../src/index';
import { FakeServer, type Obj, range, refused, thrownDuring } from './fake';

let server: FakeServer;
let hearth: Hearth;

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
});

afterEach(() => {
  hearth?.close();
  vi.useRealTimers();
});

const later = (ms = 60_000) => vi.advanceTimersByTimeAsync(ms);
const ops = (op: string) => server.requests.filter((r) => r.op === op);

function states(): State[] {
  const list: State[] = [];
  hearth.on('state', (s) => list.push(s));
  return list;
}

describe('a connection', () => {
  test('is asked for with the token as a subprotocol, at /v1/ws', async () => {
    hearth = server.connect({ url: 'https://chat.example.com/', token: async () => 'a.b.c' });
    await later(100);
    expect(server.last.url).toBe('wss://chat.example.com/v1/ws');
    expect(server.last.protocols).toEqual(['hearth.v1', 'hearth.token.a.b.c']);
    expect([hearth.state, hearth.user]).toEqual(['online', 'me']);
  });

  test('comes back with a fresh token and at the next url', async () => {
    let tokens = 0;
    hearth = server.connect({ url: ['http://one', 'http://two'], token: () => `t${++tokens}` });
    await later(100);
    server.last.cut();
    await later();
    expect(server.sockets.map((s) => [s.url, s.protocols[1]])).toEqual([
      ['ws://one/v1/ws', 'hearth.token.t1'],
      ['ws://two/v1/ws', 'hearth.token.t2'],
    ]);
  });

  test.each([4000, 4001, 4002, 4003, 4004, 4005, 4499, 1006, 1011])('comes back after %d', async (code) => {
    hearth = server.connect();
    await later(100);
    server.last.cut(code);
    await later();
    expect([server.sockets.length, hearth.state]).toEqual([2, 'online']);
  });

  test.each([4500, 4501, 4502, 4503, 4999])('never comes back after %d', async (code) => {
    hearth = server.connect();
    const list = states();
    await later(100);
    const sent = expect(hearth.group('tea').send('x')).rejects.toMatchObject({ code: 'closed', closeCode: code });
    server.last.cut(code, 'why');
    await later();
    await sent;
    expect([server.sockets.length, hearth.state]).toEqual([1, 'closed']);
    expect(list.at(-1)).toMatchObject({ code, reason: 'why' });
    await expect(hearth.online()).rejects.toBeInstanceOf(ClosedError);
  });

  test('comes back when the goodbye says, whatever the socket says', async () => {
    hearth = server.connect();
    const list = states();
    await later(100);
    server.last.write({ event: 'goodbye', code: 4000, reason: 'shutting down', reconnect_after_ms: 30_000 });
    await later(10);
    server.last.cut(1006);
    expect(server.sockets).toHaveLength(1);
    await later(29_000);
    expect(server.sockets).toHaveLength(1);
    await later(1500);
    expect(hearth.state).toBe('online');
    expect(list).toContainEqual(expect.objectContaining({ state: 'waiting', code: 4000, retryInMs: 30_000 }));
  });

  test('is cut by drop, stays away as long as told, and comes back at once by reconnect', async () => {
    hearth = server.connect();
    const list = states();
    await later(100);
    hearth.drop();
    await later(0);
    expect(list.at(-1)).toMatchObject({ state: 'waiting', reason: 'dropped' });
    await later(600);
    expect([server.sockets.length, hearth.state]).toEqual([2, 'online']);
    hearth.drop(Number.POSITIVE_INFINITY);
    await later(3_600_000);
    expect([server.sockets.length, hearth.state]).toEqual([2, 'waiting']);
    hearth.reconnect();
    await later(100);
    expect([server.sockets.length, hearth.state]).toEqual([3, 'online']);
    hearth.drop(Number.POSITIVE_INFINITY);
    hearth.reconnect(); // before anybody was told
    await later(100);
    expect([server.sockets.length, hearth.state]).toEqual([4, 'online']);
  });

  test('that is refused with an error and no close is over, as in Node 20', async () => {
    server.welcomes = false;
    hearth = server.connect();
    const list = states();
    await later(0);
    server.last.onerror?.();
    await later(0);
    expect(list.at(-1)).toMatchObject({ state: 'waiting', code: 0 });
    server.welcomes = true;
    await later(600);
    expect([server.sockets.length, hearth.state]).toEqual([2, 'online']);
  });

  test('tells why it was closed behind an error, once it was welcome', async () => {
    hearth = server.connect();
    await later(100);
    server.last.onerror?.();
    server.last.cut(4503, 'why');
    await later();
    expect([server.sockets.length, hearth.state]).toEqual([1, 'closed']);
  });

  test('that may be dead is made sure of by reconnect', async () => {
    hearth = server.connect();
    await later(100);
    hearth.reconnect();
    await later(100);
    expect(ops('ping')).toHaveLength(1);
    server.last.silent = true;
    hearth.reconnect();
    await later(11_000);
    expect([server.sockets.length, hearth.state]).toEqual([2, 'online']);
  });

  test('shows its frames as they are', async () => {
    hearth = server.connect();
    const frames: string[] = [];
    hearth.on('frame', ({ direction, text }) => frames.push(`${direction} ${text}`));
    await later(100);
    hearth.group('tea').signal('k');
    await later(100);
    server.last.raw('{"event":"presence","user":"u","online":true}\n{"event":"x"}');
    await later(100);
    expect(frames).toEqual([
      expect.stringMatching(/^in {"event":"welcome"/),
      'out {"id":1,"op":"signal","group":"tea","kind":"k"}',
      'in {"id":1,"ok":{}}',
      'in {"event":"presence","user":"u","online":true}\n{"event":"x"}',
    ]);
  });

  test('waits longer and longer, and never in step with others', async () => {
    server.welcomes = false;
    hearth = server.connect();
    const list = states();
    for (let i = 0; i < 40; i++) {
      await later(15_000);
      server.last.cut();
    }
    const delays = list.flatMap((s) => (s.retryInMs === undefined ? [] : [s.retryInMs]));
    expect(delays.length).toBeGreaterThan(10);
    expect(delays[0]).toBeLessThan(500);
    expect(Math.max(...delays)).toBeLessThan(15_000);
    expect(new Set(delays).size).toBe(delays.length);
  });

  test('that says nothing is given up: before the welcome, and when a ping is not answered', async () => {
    server.welcomes = false;
    hearth = server.connect();
    await later(25_000);
    server.welcomes = true;
    server.last.cut();
    await later(20_000);
    expect(hearth.state).toBe('online');
    const before = server.sockets.length;
    server.last.silent = true;
    await later(36_000);
    expect(server.sockets.length).toBe(before + 1);
    expect(hearth.state).toBe('online');
  });

  test('pings only when nothing comes', async () => {
    hearth = server.connect();
    await later(100);
    for (let i = 0; i < 10; i++) {
      await later(20_000);
      server.last.write({ event: 'presence', user: 'bob', online: true });
    }
    expect(ops('ping')).toHaveLength(0);
    await later(60_000);
    expect(ops('ping').length).toBeGreaterThanOrEqual(2);
    expect(server.sockets).toHaveLength(1);
  });

  test('gets a newer token before the old one ends', async () => {
    let tokens = 0;
    hearth = server.connect({ token: () => `t${++tokens}` });
    await later(100);
    server.last.write({ event: 'token_expiring', expires_ms: 1 });
    await later(100);
    expect(ops('refresh')).toMatchObject([{ token: 't2' }]);
    expect(server.sockets).toHaveLength(1);
  });

  test('a token that cannot be had is asked for again; a no that stays ends the client', async () => {
    let answers: (() => string)[] = [
      () => {
        throw new Error('away');
      },
      () => 'token',
    ];
    hearth = server.connect({ token: () => answers.shift()!() });
    await later();
    expect(hearth.state).toBe('online');
    hearth.close();
    answers = [
      () => {
        throw new HearthError({ code: 'unauthorized', message: 'who are you', retryable: false });
      },
    ];
    hearth = server.connect({ token: () => answers.shift()!() });
    await later();
    expect(hearth.state).toBe('closed');
  });

  test.each(['<html>502 Bad Gateway</html>\n', 'a b', '', 'ключ', undefined, 42, null])(
    'what cannot be a token is no answer: %j',
    async (given) => {
      const answers = [given, given, 'token'] as string[];
      hearth = server.connect({ token: () => answers.shift()! });
      const list = states();
      await later();
      expect([hearth.state, server.sockets.map((s) => s.protocols[1])]).toEqual(['online', ['hearth.token.token']]);
      expect(list.filter((s) => s.state === 'waiting').map((s) => s.reason)).toEqual(
        Array(2).fill('no token: what was given is none'),
      );
    },
  );

  test('is not cut when the newer token cannot be one', async () => {
    const answers = ['token', 'a b'];
    hearth = server.connect({ token: () => answers.shift()! });
    await later(100);
    server.last.write({ event: 'token_expiring', expires_ms: 1 });
    await later(100);
    expect([answers, ops('refresh'), hearth.state]).toEqual([[], [], 'online']);
  });

  test('a frame that cannot be read is passed over', async () => {
    hearth = server.connect();
    const seen: Obj[] = [];
    hearth.on('presence', (e) => seen.push(e));
    await later(100);
    server.last.raw('nonsense\n\n[1]\n"x"\nnull\n{"event":"unknown to this client"}\n{"event":"presence","user":"u"}');
    await later(100);
    expect(seen).toHaveLength(1);
    expect(hearth.state).toBe('online');
  });

  test('many requests go in few frames, of a hundred objects and 64 KiB at most', async () => {
    hearth = server.connect();
    await later(100);
    const frames: string[] = [];
    const send = server.last.send;
    server.last.send = function (frame) {
      frames.push(frame);
      send.call(this, frame);
    };
    const answers = range(1, 250).map((i) => hearth.request('signal', { group: 'g', kind: 'k', data: 'é'.repeat(i) }));
    await later();
    await Promise.all(answers);
    expect(frames.length).toBeLessThan(6);
    for (const frame of frames) {
      expect(frame.split('\n').length).toBeLessThanOrEqual(100);
      expect(new TextEncoder().encode(frame).length).toBeLessThanOrEqual(64 * 1024);
    }
  });

  test('no more than a hundred frames go in a second', async () => {
    hearth = server.connect();
    await later(5000);
    const times: number[] = [];
    const send = server.last.send;
    server.last.send = function (frame) {
      times.push(Date.now());
      send.call(this, frame);
    };
    for (let i = 0; i < 3000; i++) {
      hearth
        .group('g')
        .signal('k')
        .catch(() => {}); // some are on their way at the end
      await later(1);
    }
    for (const t of times) expect(times.filter((u) => u >= t && u < t + 1000).length).toBeLessThanOrEqual(121);
    expect(times.filter((t) => t > times[0]! + 1000 && t <= times[0]! + 2000).length).toBeLessThanOrEqual(81);
  });
});

describe('a send', () => {
  test('gets its receipt, and its client_id is on the message that comes back', async () => {
    hearth = server.connect({ user: 'me' });
    const seen: Obj[] = [];
    hearth.group('tea').follow({ after: 0, onMessage: (m) => seen.push(m) });
    const pending = hearth.group('tea').send('hello', { mentions: ['bob'], replyTo: 3, ack: 'durable', timeoutMs: 5 });
    expect(pending.message).toEqual({
      group: 'tea',
      from: 'me',
      time_ms: Date.now(),
      client_id: pending.clientId,
      body: [{ type: 'text', text: 'hello' }],
      mentions: ['bob'],
      reply_to: 3,
    });
    await later();
    expect(await pending).toMatchObject({ group: 'tea', seq: 1, duplicate: false });
    expect(seen).toMatchObject([{ seq: 1, client_id: pending.clientId }]);
    expect(ops('send')).toMatchObject([{ mentions: ['bob'], reply_to: 3, ack: 'durable', timeout_ms: 5 }]);
  });

  test('that is refused for now is repeated as told, and not overtaken', async () => {
    hearth = server.connect();
    let refusals = 2;
    server.handlers.set('send', () =>
      refusals-- > 0 ? refused('rate_limited', true, { retry_after_ms: 4000 }) : (null as never),
    );
    const room = hearth.group('tea');
    const sent = [room.send('a'), room.send('b'), room.send('c')];
    await later(7900);
    expect(server.log('tea')).toHaveLength(0);
    await later();
    expect((await Promise.all(sent)).map((r) => r.seq)).toEqual([1, 2, 3]);
    expect(server.log('tea').map((m) => m.client_id)).toEqual(sent.map((p) => p.clientId));
  });

  test('that is refused for good fails, and the next one goes', async () => {
    hearth = server.connect();
    server.handlers.set('send', ({ body }) => (body[0].text === 'bad' ? refused('rejected') : (null as never)));
    const room = hearth.group('tea');
    const bad = expect(room.send('bad')).rejects.toMatchObject({ code: 'rejected', retryable: false });
    const good = room.send('good');
    await later();
    await bad;
    expect((await good).seq).toBe(1);
  });

  test('in one group does not wait for another', async () => {
    hearth = server.connect();
    server.handlers.set('send', ({ group }) => (group === 'slow' ? undefined : (null as never)));
    hearth.group('slow').send('x');
    const fast = hearth.group('fast').send('x');
    await later(100);
    expect((await fast).seq).toBe(1);
  });

  test('that is not answered is repeated with the same client_id', async () => {
    hearth = server.connect();
    let lost = 1;
    server.handlers.set('send', () => (lost-- > 0 ? undefined : (null as never)));
    const pending = hearth.group('tea').send('x');
    await later();
    expect((await pending).seq).toBe(1);
    expect(ops('send').map((r) => r.client_id)).toEqual([pending.clientId, pending.clientId]);
  });

  test('waits for a connection as long as it takes', async () => {
    server.welcomes = false;
    hearth = server.connect();
    const pending = hearth.group('tea').send('x');
    await later(3_600_000);
    server.welcomes = true;
    await later();
    expect((await pending).seq).toBe(1);
  });

  test('that may have got there is not repeated when the server has forgotten its client_id', async () => {
    hearth = server.connect();
    await later(100);
    server.cutAfter = 1; // the send gets through, its answer does not
    const pending = hearth.group('tea').send('x');
    const failed = expect(pending).rejects.toMatchObject({ code: 'uncertain' });
    await later(20);
    server.welcomes = false;
    server.last.cut();
    await later(700_000);
    server.welcomes = true;
    await later();
    await failed;
    expect(server.log('tea')).toHaveLength(1);
  });

  test('can be given up', async () => {
    server.welcomes = false;
    hearth = server.connect();
    const controller = new AbortController();
    const failed = expect(hearth.group('tea').send('x', { signal: controller.signal })).rejects.toThrow('enough');
    controller.abort(new Error('enough'));
    await failed;
    server.welcomes = true;
    await later(60_000);
    expect(server.log('tea')).toHaveLength(0);
  });

  test('can be given up while it waits behind another, and what comes behind it still waits its turn', async () => {
    server.welcomes = false;
    hearth = server.connect();
    const room = hearth.group('tea');
    const first = room.send('1');
    const controller = new AbortController();
    let failure: Error | undefined;
    room.send('2', { signal: controller.signal }).catch((error) => {
      failure = error;
    });
    const third = room.send('3');
    controller.abort(new Error('enough'));
    await later(100);
    expect(failure?.message).toBe('enough');
    server.welcomes = true;
    await later(60_000);
    expect([(await first).seq, (await third).seq]).toEqual([1, 2]);
    expect(server.requests.filter((r) => r.op === 'send').map((r) => r.body[0].text)).toEqual(['1', '3']);
  });

  test('that is to be repeated later fails at once when the client ends', async () => {
    hearth = server.connect();
    server.handlers.set('send', () => refused('rate_limited', true, { retry_after_ms: 30_000 }));
    let failure: Obj | undefined;
    hearth
      .group('tea')
      .send('x')
      .catch((error) => {
        failure = error;
      });
    await later(100);
    hearth.close();
    await later(100);
    expect(failure).toMatchObject({ code: 'closed' });
  });
});

test('cut behind any object, nothing is missing, twice or out of order', async () => {
  for (let cut = 0; cut < 60; cut++) {
    server = new FakeServer();
    server.pageLimit = 7;
    for (const i of range(1, 30)) server.say('tea', `${i}`);
    hearth = server.connect();
    server.cutAfter = cut;
    const seqs: number[] = [];
    const mine: (string | undefined)[] = [];
    const room = hearth.group('tea');
    room.follow({
      after: 0,
      onMessage: (m) => {
        seqs.push(m.seq);
        if (m.from === 'me') mine.push(m.client_id);
      },
    });
    const sends = [];
    for (let i = 0; i < 8; i++) {
      sends.push(room.send(`${i}`));
      server.say('tea', 'other');
      await later(4);
    }
    await later();
    const receipts = await Promise.all(sends);
    expect(seqs, `cut ${cut}`).toEqual(range(1, 46));
    expect(mine, `cut ${cut}`).toEqual(sends.map((p) => p.clientId));
    expect(receipts.map((r) => r.seq)).toEqual([...receipts.map((r) => r.seq)].sort((a, b) => a - b));
    hearth.close();
  }
});

describe('around a group', () => {
  test('history goes back page by page', async () => {
    for (const i of range(1, 25)) server.say('tea', `${i}`);
    hearth = server.connect();
    const pages: number[][] = [];
    const loop = (async () => {
      for await (const page of hearth.group('tea').history({ limit: 10 })) pages.push(page.messages.map((m) => m.seq));
    })();
    await later();
    await loop;
    expect(pages).toEqual([range(16, 25), range(6, 15), range(1, 5)]);
  });

  test('read marks on their way become one', async () => {
    hearth = server.connect();
    await later(100);
    const room = hearth.group('tea');
    const marks = range(1, 9).map((seq) => room.markRead(seq));
    await later(100);
    expect((await Promise.all(marks)).map((m) => m.read_seq)).toEqual(Array(9).fill(9));
    expect(ops('read').length).toBeLessThanOrEqual(2);
  });

  test('a mark that was refused is not repeated with the next', async () => {
    hearth = server.connect();
    const room = hearth.group('tea');
    server.handlers.set('read', ({ seq }) => (seq > 5 ? refused('bad_request') : (null as never)));
    const bad = expect(room.markRead(9)).rejects.toMatchObject({ code: 'bad_request' });
    await later(100);
    await bad;
    const good = room.markRead(3);
    await later(100);
    expect((await good).read_seq).toBe(3);
  });

  test('a mark that is made as the one before is answered goes out, too', async () => {
    hearth = server.connect();
    await later(100);
    const room = hearth.group('tea');
    const second = room.markRead(1).then(() => room.markRead(2));
    await later(100);
    expect((await second).read_seq).toBe(2);
  });

  test('typing is told now and then, and ends by itself or with the message', async () => {
    hearth = server.connect();
    const room = hearth.group('tea');
    const seen: string[][] = [];
    room.follow({ after: 0 });
    const off = room.onTyping((users) => seen.push(users));
    await later(100);
    for (let i = 0; i < 50; i++) {
      hearth.group('tea').typing();
      await later(100);
    }
    expect(ops('signal')).toHaveLength(2);
    const signal = (from: string) =>
      server.last.write({ event: 'signal', group: 'tea', from, kind: 'typing', time_ms: 1 });
    signal('me'); // another device
    signal('bob');
    signal('cy');
    await later(100);
    server.say('tea', 'done', { from: 'cy' });
    await later(10_000);
    off();
    expect(seen).toEqual([['bob'], ['bob', 'cy'], ['bob'], []]);
  });

  test('the hot rooms are watched again on every connection', async () => {
    hearth = server.connect();
    const seen: Obj[] = [];
    const off = hearth.watchHot((hot) => seen.push(hot), { limit: 10 });
    await later(100);
    server.last.cut();
    await later(20_000);
    server.last.write({ event: 'hot', snapshot: 's', time_ms: 1, window_ms: 1, groups: [] });
    await later(100);
    off();
    await later(100);
    expect(seen).toHaveLength(1);
    expect(ops('hot').map((r) => [r.watch, r.limit])).toEqual([
      [true, 10],
      [true, 10],
      [false, undefined],
    ]);
  });

  test('a watcher of the hot rooms that throws takes nothing from what is behind it in the frame', async () => {
    hearth = server.connect();
    server.handlers.set('hot', ({ id }, socket) => {
      socket.write({ id, ...refused('forbidden') }, { event: 'durable', group: 'tea', seq: 7 });
      return undefined;
    });
    const durable: number[] = [];
    hearth.on('durable', ({ seq }) => durable.push(seq));
    hearth.watchHot(() => {}, {
      onError: () => {
        throw new Error('mine');
      },
    });
    const thrown = await thrownDuring(() => later(100));
    expect(durable).toEqual([7]);
    expect(thrown).toHaveLength(1);
  });

  test('conversations come whole, over all pages', async () => {
    hearth = server.connect();
    server.handlers.set('sync', ({ cursor }) => ({
      ok: cursor ? { results: [{ group: 'b' }] } : { results: [{ group: 'a' }], cursor: 'next' },
    }));
    const list = hearth.conversations();
    await later();
    expect((await list).map((c) => c.group)).toEqual(['a', 'b']);
  });

  test('a conversation that moves to the top while the pages are asked for is in the list, and once', async () => {
    const times = new Map(range(1, 9).map((n) => [`g${n}`, n]));
    server.handlers.set('sync', ({ cursor = 100 }) => {
      const all = [...times].sort(([, a], [, b]) => b - a).filter(([, at]) => at < cursor);
      const results = all.slice(0, 3).map(([group]) => ({ group }));
      if (cursor === 100 && times.get('g2') === 2) times.set('g2', 50); // somebody speaks there now
      return { ok: { results, ...(all.length > 3 && { cursor: all[2]![1] }) } };
    });
    hearth = server.connect();
    const list = hearth.conversations();
    await later();
    expect((await list).map((c) => c.group)).toEqual(['g2', 'g9', 'g8', 'g7', 'g6', 'g5', 'g4', 'g3', 'g1']);
  });
});
