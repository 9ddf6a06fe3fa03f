import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ClosedError, type Hearth, HearthError, type Hole, type Message, type Recall } from '../src/index';
import { randomOf } from './dev';
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
const fill = (group: string, n: number) => {
  for (const i of range(1, n)) server.say(group, `${i}`);
};

/** Follows with hooks that note down. */
function reader(group: string, after?: number, more: Obj = {}) {
  const seen = {
    seqs: [] as number[],
    holes: [] as Hole[],
    recalls: [] as Recall[],
    live: 0,
    error: undefined as unknown,
  };
  const stop = hearth.group(group).follow({
    after,
    onMessage: (m) => seen.seqs.push(m.seq),
    onHole: (h) => seen.holes.push(h),
    onRecall: (r) => seen.recalls.push(r),
    onLive: () => seen.live++,
    onError: (e) => {
      seen.error = e;
    },
    ...more,
  });
  return Object.assign(seen, { stop });
}

describe('a reader', () => {
  test('gets the history page by page, then what comes', async () => {
    fill('tea', 450);
    hearth = server.connect();
    const r = reader('tea', 0);
    await later();
    server.say('tea', 'new');
    await later();
    expect(r.seqs).toEqual(range(1, 451));
    expect(r.live).toBe(1);
  });

  test('without after begins with what comes', async () => {
    fill('tea', 5);
    hearth = server.connect();
    const r = reader('tea');
    await later(100);
    server.say('tea', 'new');
    await later();
    expect(r.seqs).toEqual([6]);
  });

  test('gets nothing twice when pushes and pages overlap', async () => {
    fill('tea', 3);
    hearth = server.connect();
    await later(100);
    server.last.subscribed.add('tea'); // as the server does with the user's groups
    const r = reader('tea', 0);
    for (let i = 0; i < 40; i++) {
      server.say('tea', 'x');
      await later(1);
    }
    await later();
    expect(r.seqs).toEqual(range(1, 43));
  });

  test('tells holes in their place, of pages and of pushes', async () => {
    const order: string[] = [];
    server.say('tea', 'a', { seq: 2 });
    server.say('tea', 'b', { seq: 5 });
    hearth = server.connect();
    hearth.group('tea').follow({
      after: 0,
      onMessage: (m) => order.push(`${m.seq}`),
      onHole: (h) => order.push(`${h.from}-${h.to} ${h.reason}`),
    });
    await later(100);
    server.say('tea', 'c', { seq: 9 });
    await later();
    expect(order).toEqual(['1-1 lost', '2', '3-4 lost', '5', '6-8 undefined', '9']);
  });

  test('asks for what a push shows to be missing', async () => {
    hearth = server.connect();
    const r = reader('tea', 0);
    await later(100);
    server.last.subscribed.delete('tea');
    fill('tea', 3); // lost on the way
    server.last.subscribed.add('tea');
    server.say('tea', '4');
    await later();
    expect(r.seqs).toEqual(range(1, 4));
  });

  test('goes on after resync', async () => {
    hearth = server.connect();
    const r = reader('tea', 0);
    await later(100);
    fill('tea', 2);
    await later(100);
    server.last.subscribed.clear();
    fill('tea', 2);
    server.last.write({ event: 'resync', groups: [{ group: 'tea' }] });
    await later();
    server.say('tea', 'x');
    await later();
    expect(r.seqs).toEqual(range(1, 5));
  });

  test('a resync below the cursor goes to onRepair, and to nobody without it', async () => {
    server.say('tea', 'a', { seq: 1 });
    server.say('tea', 'b', { seq: 3 });
    hearth = server.connect();
    const repaired: number[] = [];
    const r = reader('tea', 0, { onRepair: (m: Message) => repaired.push(m.seq) });
    const other = reader('tea', 0);
    await later(100);
    server.log('tea').splice(1, 0, { ...server.log('tea')[0]!, seq: 2 });
    server.last.write({ event: 'resync', groups: [{ group: 'tea', after_seq: 1 }] });
    await later();
    server.say('tea', 'c');
    await later();
    expect(repaired).toEqual([2, 3]);
    expect(r.seqs).toEqual([1, 3, 4]);
    expect(other.seqs).toEqual([1, 3, 4]);
  });

  test('that comes later gets all, and does not disturb the first', async () => {
    fill('tea', 300);
    hearth = server.connect();
    const first = reader('tea', 250);
    await later(100);
    const second = reader('tea', 0);
    const third = reader('tea');
    await later(7);
    server.say('tea', 'x');
    await later();
    server.say('tea', 'y');
    await later();
    expect(first.seqs).toEqual(range(251, 302));
    expect(second.seqs).toEqual(range(1, 302));
    expect(third.seqs.at(-1)).toBe(302);
  });

  test('that comes while the page of another is on its way gets all', async () => {
    fill('tea', 300);
    hearth = server.connect();
    const first = reader('tea', 250);
    await later(8); // asked, and not answered
    expect(first.seqs).toEqual([]);
    const second = reader('tea', 0);
    await later();
    server.say('tea', 'x');
    await later();
    expect(first.seqs).toEqual(range(251, 301));
    expect(second.seqs).toEqual(range(1, 301));
  });

  test('gets no body that was recalled behind the page it is in', async () => {
    fill('tea', 3);
    server.handlers.set('subscribe', ({ group }, socket) => {
      const page = server.page(group, 0, 200);
      socket.subscribed.add(group);
      server.recall(group, 2);
      return { ok: { ...page, role: 'member', read_seq: 0, unread: 0, persisted_seq: 0 } };
    });
    hearth = server.connect();
    const seen: Message[] = [];
    const r = reader('tea', 0, { onMessage: (m: Message) => seen.push(m) });
    await later();
    expect(seen.map((m) => [m.seq, m.body === undefined, m.recalled_by])).toEqual([
      [1, false, undefined],
      [2, true, 'bob'],
      [3, false, undefined],
    ]);
    expect(r.recalls).toEqual([]);
  });

  test('is told recalls: live, and after a time away', async () => {
    fill('tea', 5);
    hearth = server.connect();
    const r = reader('tea', 0);
    await later(100);
    server.recall('tea', 2);
    await later(100_000); // pings tell the time
    expect(r.recalls.map((c) => [c.seq, c.by])).toEqual([[2, 'bob']]);
    server.last.cut();
    server.recall('tea', 4);
    await later();
    expect(r.recalls.map((c) => c.seq)).toEqual([2, 4]);
    expect(r.seqs).toEqual(range(1, 5));
  });

  test('is told when recalls are too many to list', async () => {
    fill('tea', 1);
    hearth = server.connect();
    let lost = 0;
    const r = reader('tea', 0, { onRecallsLost: () => lost++ });
    await later(100);
    server.handlers.set('subscribe', ({ recalled_after_ms }) =>
      recalled_after_ms === undefined ? (null as never) : refused('too_large'),
    );
    server.last.cut();
    await later();
    server.say('tea', 'x');
    await later();
    expect([lost, r.seqs]).toEqual([1, [1, 2]]);
  });

  test('tries again what is retryable, no sooner than told, and fails with what stays', async () => {
    hearth = server.connect();
    let attempts = 0;
    server.handlers.set('subscribe', () => {
      attempts++;
      return attempts < 3 ? refused('overloaded', true, { retry_after_ms: 5000 }) : refused('not_member');
    });
    const r = reader('tea', 0);
    await later(5500);
    expect(attempts).toBeLessThan(3);
    expect(r.error).toBeUndefined();
    await later();
    expect(attempts).toBe(3);
    expect(r.error).toBeInstanceOf(HearthError);
    expect((r.error as HearthError).code).toBe('not_member');
  });

  test('who is removed is told by the server when it subscribes again', async () => {
    hearth = server.connect();
    const r = reader('tea', 0);
    await later(100);
    server.handlers.set('subscribe', () => refused('not_member'));
    server.last.write({ event: 'group', group: 'tea', change: 'removed', user: 'me', by: 'bob' });
    await later();
    expect((r.error as HearthError).code).toBe('not_member');
  });

  test('who is removed while he subscribes is told so, too', async () => {
    hearth = server.connect();
    let asked = 0;
    server.handlers.set('subscribe', (_, socket) => {
      if (asked++ > 0) return refused('not_member');
      socket.write({ event: 'group', group: 'tea', change: 'removed', user: 'me', by: 'bob' });
      return null as never; // from before that
    });
    const r = reader('tea', 0);
    await later();
    expect((r.error as HearthError).code).toBe('not_member');
  });

  test('a hook that throws takes nothing from the others', async () => {
    fill('tea', 3);
    hearth = server.connect();
    const r = reader('tea', 0, {
      onHole: () => {},
      onMessage: () => {
        throw new Error('bug');
      },
    });
    const other = reader('tea', 0);
    const thrown = await thrownDuring(() => later());
    expect(other.seqs).toEqual([1, 2, 3]);
    expect(r.error).toBeUndefined();
    expect(thrown).toHaveLength(3);
  });

  test('no more than twenty subscribe at once', async () => {
    hearth = server.connect();
    const readers = range(1, 50).map((i) => {
      server.say(`g${i}`, 'x');
      return reader(`g${i}`, 0);
    });
    server.handlers.set('subscribe', () => undefined);
    await later(1000);
    expect(server.requests.filter((r) => r.op === 'subscribe')).toHaveLength(20);
    server.handlers.clear();
    server.last.cut();
    await later();
    for (const r of readers) expect(r.seqs).toEqual([1]);
  });
});

/** A loop that has taken one message, and takes the next when told to. Notes down what it is told, in order. */
function slowLoop(group: string) {
  const told: string[] = [];
  const stream = hearth.group(group).messages({
    after: 0,
    onHole: (h) => told.push(`hole ${h.from}-${h.to}`),
    onRecall: (r) => told.push(`recall ${r.seq}`),
    onRecallsLost: () => told.push('recalls lost'),
    onRepair: (m) => told.push(`repair ${m.seq}${m.body ? '' : ' tombstone'}`),
    onLive: () => told.push('live'),
  });
  const take = async () => {
    const { value, done } = await stream.next();
    if (!done) told.push(`${value.seq}${value.body ? '' : ' tombstone'}`);
  };
  take().catch(() => {}); // at the end of the test
  const takes = async (n: number) => {
    for (let i = 0; i < n; i++) {
      take().catch(() => {});
      await later(100);
    }
  };
  return { told, takes, stream };
}

describe('a loop over messages', () => {
  test('that is slow holds a thousand and a page, and misses nothing', async () => {
    fill('tea', 3000);
    hearth = server.connect();
    const stream = hearth.group('tea').messages({ after: 0 });
    const first = stream.next();
    await later();
    const asked = server.requests.filter((r) => r.op === 'subscribe').length;
    expect(asked).toBeLessThanOrEqual(7);
    fill('tea', 100);
    await later();
    const seqs = [(await first).value.seq];
    while (seqs.length < 3100) {
      const next = stream.next();
      await later(20);
      seqs.push((await next).value.seq);
    }
    expect(seqs).toEqual(range(1, 3100));
  });

  test('that is slow is told of holes, repairs and being live in their place', async () => {
    server.say('tea', 'a', { seq: 2 });
    server.say('tea', 'b', { seq: 5 });
    hearth = server.connect();
    const loop = slowLoop('tea');
    await later(100);
    server.say('tea', 'c', { seq: 9 });
    await later(100);
    server.log('tea').splice(1, 0, { ...server.log('tea')[0]!, seq: 3 });
    server.last.write({ event: 'resync', groups: [{ group: 'tea', after_seq: 2 }] });
    await later();
    expect(loop.told).toEqual(['hole 1-1', '2']); // it is still at it
    await loop.takes(3);
    const repairs = ['repair 3', 'repair 5', 'repair 9'];
    expect(loop.told).toEqual(['hole 1-1', '2', 'hole 3-4', '5', 'live', 'hole 6-8', '9', ...repairs, 'live']);
  });

  test('that is slow never gets a body that was recalled, and is told of a recall behind the message', async () => {
    fill('tea', 5);
    hearth = server.connect();
    const loop = slowLoop('tea');
    await later(100);
    await loop.takes(1);
    server.recall('tea', 1); // done with
    server.recall('tea', 2); // the loop is at it
    server.recall('tea', 4); // waits
    await later(100);
    expect(loop.told).toEqual(['1', '2', 'recall 1']);
    await loop.takes(3);
    expect(loop.told.slice(3)).toEqual(['recall 2', '3', '4 tombstone', '5']);
    server.recall('tea', 5);
    await later(100);
    await loop.takes(1);
    server.recall('tea', 3);
    await later(100);
    expect(loop.told.slice(7)).toEqual(['recall 5', 'live', 'recall 3']);
  });

  test('that is slow never gets a body that was recalled while the client was away', async () => {
    fill('tea', 3);
    hearth = server.connect();
    const loop = slowLoop('tea');
    await later(100_000); // pings tell the time
    server.last.cut();
    server.recall('tea', 2);
    server.recall('tea', 1);
    await later();
    await loop.takes(3);
    expect(loop.told).toEqual(['1', 'recall 1', '2 tombstone', '3', 'live', 'live']);
  });

  test('that is slow never gets a repaired body that was recalled', async () => {
    server.say('tea', 'a', { seq: 1 });
    server.say('tea', 'b', { seq: 3 });
    hearth = server.connect();
    const loop = slowLoop('tea');
    await later(100);
    server.log('tea').splice(1, 0, { ...server.log('tea')[0]!, seq: 2 });
    server.last.write({ event: 'resync', groups: [{ group: 'tea', after_seq: 1 }] });
    await later(100);
    server.recall('tea', 2);
    server.recall('tea', 3);
    await later(100);
    await loop.takes(2);
    expect(loop.told.filter((t) => !t.startsWith('recall'))).toEqual([
      '1',
      'hole 2-2',
      '3 tombstone',
      'live',
      'repair 2 tombstone',
      'repair 3 tombstone',
      'live',
    ]);
  });

  test('that has no room hears of recalls that came with the page of another', async () => {
    fill('tea', 1100);
    hearth = server.connect();
    const loop = slowLoop('tea');
    await later(100_000);
    server.last.cut();
    server.recall('tea', 600);
    reader('tea', 0);
    await later();
    await loop.takes(599);
    expect(loop.told.at(-1)).toBe('600 tombstone');
  });

  test('that waits is told at once, and so is one that has not begun', async () => {
    server.say('tea', 'a', { seq: 2 });
    hearth = server.connect();
    const told: string[] = [];
    const stream = hearth
      .group('tea')
      .messages({ after: 2, onLive: () => told.push('live'), onHole: () => told.push('hole') });
    await later(100);
    expect(told).toEqual(['live']);
    const next = stream.next();
    server.say('tea', 'b', { seq: 5 });
    await later(100);
    expect([told, (await next).value.seq]).toEqual([['live', 'hole'], 5]);
  });

  test('that is left by a hook is told no more', async () => {
    server.say('tea', 'a', { seq: 2 });
    server.say('tea', 'b', { seq: 5 });
    hearth = server.connect();
    const holes: number[] = [];
    const stream = hearth.group('tea').messages({
      after: 0,
      onHole: ({ from }) => {
        if (holes.push(from) === 2) void stream.return!();
      },
    });
    await later(100);
    expect((await stream.next()).value.seq).toBe(2);
    server.say('tea', 'c', { seq: 9 });
    await later(100);
    expect([await stream.next(), await stream.next(), holes]).toEqual([
      { value: undefined, done: true },
      { value: undefined, done: true },
      [1, 3],
    ]);
  });

  test('pulls again what it shows behind the messages that may have been recalled', async () => {
    fill('tea', 3);
    hearth = server.connect();
    const loop = slowLoop('tea');
    await later(100);
    server.handlers.set('subscribe', ({ recalled_after_ms }) =>
      recalled_after_ms === undefined ? (null as never) : refused('too_large'),
    );
    server.last.cut();
    await later();
    expect(loop.told).toEqual(['1']);
    await loop.takes(3);
    expect(loop.told).toEqual(['1', '2', '3', 'live', 'recalls lost', 'live']);
  });

  test('leaving it ends it, and the subscription to a room not joined', async () => {
    fill('tea', 3);
    server.handlers.set('subscribe', ({ group, after_seq }, socket) => {
      socket.subscribed.add(group);
      return { ok: { ...server.page(group, after_seq, 200), role: null, read_seq: 0, unread: 3, persisted_seq: 0 } };
    });
    hearth = server.connect();
    const seqs: number[] = [];
    const loop = (async () => {
      for await (const m of hearth.group('tea').messages({ after: 0 })) {
        seqs.push(m.seq);
        if (m.seq === 2) break;
      }
    })();
    await later();
    await loop;
    expect(seqs).toEqual([1, 2]);
    expect(server.requests).toContainEqual(expect.objectContaining({ op: 'unsubscribe', group: 'tea' }));
  });

  test('leaving it before the first page ends the subscription, too, unless it is wanted again', async () => {
    fill('tea', 3);
    server.handlers.set('subscribe', ({ group, after_seq }) => ({
      ok: { ...server.page(group, after_seq, 200), role: null, read_seq: 0, unread: 3, persisted_seq: 0 },
    }));
    const left = () => server.requests.filter((r) => r.op === 'unsubscribe').map((r) => r.group);
    hearth = server.connect();
    await later(100);
    const first = reader('tea', 0);
    await later(2);
    first.stop();
    await later(100);
    expect(left()).toEqual(['tea']);
    const second = reader('tea', 0);
    await later(2);
    second.stop();
    const third = reader('tea', 0);
    await later(100);
    expect([left(), third.seqs]).toEqual([['tea'], [1, 2, 3]]);
  });

  test('throws when the client ends', async () => {
    hearth = server.connect();
    const next = hearth.group('tea').messages({ after: 0 }).next();
    const thrown = expect(next).rejects.toBeInstanceOf(ClosedError);
    await later(100);
    hearth.close();
    await thrown;
  });

  test('goes on where the last visit was', async () => {
    const kept = new Map<string, number>();
    const storage = {
      load: async (key: string) => kept.get(key),
      save: (key: string, value: number) => void kept.set(key, value),
    };
    fill('tea', 5);
    hearth = server.connect({ storage });
    const stream = hearth.group('tea').messages({ after: 0 });
    for (let i = 0; i < 3; i++) {
      const next = stream.next();
      await later(50);
      await next;
    }
    hearth.close();
    expect(kept.get('seq:tea')).toBe(2); // the third was taken, but nothing says that it was dealt with
    server.recall('tea', 1);
    hearth = server.connect({ storage });
    const recalls: number[] = [];
    const again = hearth.group('tea').messages({ onRecall: (r) => recalls.push(r.seq) });
    const next = again.next();
    await later();
    expect((await next).value.seq).toBe(3);
    expect(recalls).toEqual([1]);
  });
});

test('a group that was quiet at the first visit is read from there at the next', async () => {
  const kept = new Map<string, number>();
  const storage = {
    load: (key: string) => kept.get(key),
    save: (key: string, value: number) => void kept.set(key, value),
  };
  fill('tea', 3);
  hearth = server.connect({ storage });
  reader('tea');
  await later();
  hearth.close();
  fill('tea', 2);
  hearth = server.connect({ storage });
  const r = reader('tea');
  await later();
  expect(r.seqs).toEqual([4, 5]);
  reader('tea', 0); // brings back the history, but not at every visit from now on
  await later();
  expect(kept.get('seq:tea')).toBe(5);
});

test('a direct conversation is followed before anybody has written', async () => {
  server.handlers.set('subscribe', ({ group }) =>
    server.log(group).length === 0 ? refused('not_found') : (null as never),
  );
  hearth = server.connect();
  const seqs: number[] = [];
  hearth.direct('you').follow({ onMessage: (m) => seqs.push(m.seq) });
  await later(100);
  const sent = hearth.direct('you').send('hello');
  await later();
  expect((await sent).group).toBe('dm:me:you');
  server.say('dm:me:you', 'hello you');
  await later();
  expect(seqs).toEqual([1, 2]);
});

test('a direct conversation is followed by its id just so', async () => {
  server.handlers.set('subscribe', ({ group }) =>
    server.log(group).length === 0 ? refused('not_found') : (null as never),
  );
  hearth = server.connect();
  const r = reader('dm:me:you');
  await later(100);
  hearth.direct('you').send('hello');
  await later();
  expect([r.seqs, r.error]).toEqual([[1], undefined]);
});

test('whatever happens, every reader gets all of it in order, and hears of every recall', async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const random = randomOf(seed);
    const pick = (n: number) => Math.floor(random() * n);
    server = new FakeServer();
    server.pageLimit = 1 + pick(20);
    fill('tea', pick(40));
    hearth = server.connect();
    const followers = [follower(0)];
    const recalled = new Set<number>();
    for (let step = 0; step < 80; step++) {
      const last = server.log('tea').at(-1)?.seq ?? 0;
      switch (pick(10)) {
        case 0:
          server.cutAfter = pick(12);
          break;
        case 1: // a slow reader, with what he missed
          for (const socket of server.open) if (!socket.subscribed.delete('tea')) socket.silent = true;
          fill('tea', pick(5));
          for (const socket of server.open) socket.write({ event: 'resync', groups: [{ group: 'tea' }] });
          break;
        case 2: // a push that is lost
          for (const socket of server.open) {
            const subscribed = socket.subscribed.delete('tea');
            fill('tea', 1);
            if (subscribed) socket.subscribed.add('tea');
          }
          break;
        case 3: {
          const live = server.log('tea').filter((m) => m.body && m.seq > 0);
          const seq = live[pick(live.length)]?.seq;
          if (seq === undefined) break;
          server.recall('tea', seq);
          recalled.add(seq);
          break;
        }
        case 4:
          if (followers.length < 4) followers.push(follower(pick(last + 1)));
          break;
        case 5:
          server.say('tea', 'behind a hole', { seq: last + 2 + pick(3) });
          break;
        default:
          server.say('tea', 'x');
      }
      await later(pick(40));
    }
    await later(120_000);
    server.say('tea', 'the end');
    await later(60_000);
    for (const { after, seqs, places, told } of followers) {
      const expected = server.log('tea').filter((m) => m.seq > after);
      expect(seqs, `seed ${seed}`).toEqual(expected.map((m) => m.seq));
      expect(places, `seed ${seed}`).toEqual(range(after + 1, expected.at(-1)!.seq));
      const missed = [...recalled].filter((seq) => seq > after && !told.has(seq));
      expect(missed, `seed ${seed}: recalls nobody told`).toEqual([]);
    }
    hearth.close();
  }
});

/** Notes messages, what is a message or a hole in its place, and what it knows to be recalled. */
function follower(after: number) {
  const seen = { after, seqs: [] as number[], places: [] as number[], told: new Set<number>() };
  hearth.group('tea').follow({
    after,
    onMessage: (m) => {
      seen.seqs.push(m.seq);
      seen.places.push(m.seq);
      if (!m.body) seen.told.add(m.seq);
    },
    onHole: ({ from, to }) => seen.places.push(...range(from, to)),
    onRecall: ({ seq }) => seen.told.add(seq),
  });
  return seen;
}
