// @vitest-environment happy-dom

import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { backOff, follow, type Link } from '../live';
import { session } from '../session';
import { FakeSource } from './source';

const someone = { key: 'ops', instance: 'a', version: '1' };
let answer: () => Response;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('EventSource', FakeSource);
  answer = () => Response.json(someone);
  vi.stubGlobal('fetch', async () => answer());
  FakeSource.opened = [];
  session.value = someone;
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function start(quietMS = 0) {
  const got: unknown[] = [];
  const links: Link['state'][] = [];
  const says: (string | undefined)[] = [];
  const stop = follow({
    path: () => `/events?n=${got.length}`,
    on: { overview: (data) => got.push(data) },
    link: (l) => {
      links.push(l.state);
      if (l.state === 'waiting') says.push(l.says);
    },
    quietMS,
  });
  return { got, links, says, stop };
}

test('events arrive, and the link is told', () => {
  const { got, links, stop } = start();
  FakeSource.last.onopen?.();
  FakeSource.last.tell('overview', { n: 1 });
  FakeSource.last.tell('other', { n: 2 });
  expect(got).toEqual([{ n: 1 }]);
  expect(links).toEqual(['connecting', 'live']);
  stop();
  expect(FakeSource.last.closed).toBe(true);
});

test('after a break it opens again, from where it was', async () => {
  const { stop } = start();
  FakeSource.last.tell('overview', {});
  FakeSource.last.onerror?.();
  expect(FakeSource.opened.length).toBe(1);
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeSource.opened.map((s) => s.url)).toEqual(['/console/api/events?n=0', '/console/api/events?n=1']);
  expect(FakeSource.opened[0]!.closed).toBe(true);
  stop();
});

test('waits longer each time, and little again after an event', async () => {
  const waits = [];
  const { links, stop } = start();
  for (let i = 0; i < 6; i++) {
    const from = Date.now();
    const n = FakeSource.opened.length;
    FakeSource.last.onerror?.();
    while (FakeSource.opened.length === n) await vi.advanceTimersByTimeAsync(100);
    waits.push(Date.now() - from);
  }
  expect(waits[5]).toBeGreaterThanOrEqual(7500);
  expect(Math.max(...waits)).toBeLessThanOrEqual(15_000);
  expect(waits[0]).toBeLessThanOrEqual(1000);
  expect(links).toContain('waiting');
  FakeSource.last.tell('overview', {});
  FakeSource.last.onerror?.();
  await vi.advanceTimersByTimeAsync(1000);
  expect(FakeSource.opened.length).toBe(8);
  stop();
});

test('a stream that is silent for too long counts as broken', async () => {
  const { stop } = start(10_000);
  await vi.advanceTimersByTimeAsync(9000);
  FakeSource.last.tell('overview', {});
  await vi.advanceTimersByTimeAsync(9000);
  expect(FakeSource.opened.length).toBe(1);
  await vi.advanceTimersByTimeAsync(2000);
  expect(FakeSource.opened.length).toBe(2);
  stop();
});

test('the end of the session asks for the key', async () => {
  const { stop } = start();
  answer = () => Response.json({ error: { code: 'unauthenticated', message: 'gone' } }, { status: 401 });
  FakeSource.last.onerror?.();
  await vi.advanceTimersByTimeAsync(10);
  expect(session.value).toBeNull();
  stop();
});

test('stopped, it does not come back', async () => {
  const { stop } = start(10_000);
  FakeSource.last.onerror?.();
  stop();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSource.opened.length).toBe(1);
});

test('while nobody sees the page it holds no connection', async () => {
  const hidden = vi.spyOn(document, 'hidden', 'get');
  const { stop } = start(10_000);
  const see = (is: boolean) => {
    hidden.mockReturnValue(!is);
    document.dispatchEvent(new Event('visibilitychange'));
  };
  see(false);
  expect(FakeSource.last.closed).toBe(true);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(FakeSource.opened.length).toBe(1);
  see(true);
  expect(FakeSource.opened.length).toBe(2);
  stop();
  see(true);
  expect(FakeSource.opened.length).toBe(2);
  hidden.mockRestore();
});

test('a refusal is told in the words of the server', async () => {
  answer = () => Response.json({ code: 'overloaded', detail: 'close some windows' }, { status: 503 });
  const { says, stop } = start();
  FakeSource.last.onerror?.();
  await vi.advanceTimersByTimeAsync(10);
  expect(says).toEqual([undefined, 'close some windows']);
  stop();
});

test('half of the wait is chance', () => {
  expect([backOff(0, 0), backOff(0, 1), backOff(2, 0), backOff(2, 1), backOff(40, 1)]).toEqual([
    500, 1000, 2000, 4000, 15_000,
  ]);
});
