import { expect, test } from 'vitest';
import type { Overview, Totals } from '../types';
import { standing } from '../write-behind';

function overview(totals: Totals, mysqlSince?: number, redisOK = true): Overview {
  const mysql = mysqlSince === undefined ? { ok: true } : { ok: false, since_ms: mysqlSince };
  return { time_ms: 0, instance: 'a', totals, stores: { redis: { ok: redisOK }, mysql }, instances: [] };
}

test('MySQL away: for how long, how many wait, and that nothing is lost', () => {
  const s = standing(overview({ backlog: 4210 }, 100_000), 112_400);
  expect(s.level).toBe('warn');
  expect(`${s.title}, ${s.text}`).toBe(
    'MySQL away for 12 s, 4,210 messages wait in Redis; nothing is lost; sending goes on.',
  );
  expect(standing(overview({ backlog: 1 }, 0), 0).text).toMatch(/^1 message waits in Redis/);
  expect(standing(overview({ backlog: 0 }, 0), 0).text).toMatch(/^no message waits in Redis/);
  expect(standing(overview({}, 0), 0).text).toMatch(/^messages wait in Redis/);
});

test('behind: what is left, and for how long at this rate', () => {
  const s = standing(overview({ backlog: 3000, lag_ms: 9000, rows_per_s: 1500 }), 0);
  expect([s.level, s.title]).toEqual(['warn', 'MySQL is 9 s behind']);
  expect(s.text).toBe('3,000 messages still to be written, about 2 s at 1,500 rows/s. Nothing is lost.');
  expect(standing(overview({ backlog: 3000, lag_ms: 9000, rows_per_s: 0 }), 0).text).not.toMatch(/about/);
});

test('a lag without a backlog is that of the past', () => {
  expect(standing(overview({ backlog: 0, lag_ms: 9000 }), 0).level).toBe('good');
});

test('in good order', () => {
  expect(standing(overview({ backlog: 0, lag_ms: 20, dead_letters: 0 }), 0).text).toBe(
    'Every message accepted is in MySQL.',
  );
  expect(standing(overview({ backlog: 0, lag_ms: 20 }), 0).text).toBe('No message waits to be written.');
  expect(standing(overview({ backlog: 3, lag_ms: 20 }), 0).text).toBe('3 messages on the way.');
});

test('with dead letters nobody says that MySQL has all', () => {
  const s = standing(overview({ backlog: 0, lag_ms: 20, dead_letters: 2 }), 0);
  expect(s).toEqual({
    level: 'warn',
    title: 'MySQL refused 2 messages',
    text: 'They lie whole in the dead letters, to be retried. Every other message accepted is in MySQL.',
  });
  expect(standing(overview({ backlog: 3, dead_letters: 1 }), 0).text).toBe(
    'It lies whole in the dead letters, to be retried. 3 messages on the way.',
  );
  expect(standing(overview({ backlog: 3000, lag_ms: 9000, dead_letters: 1 }), 0).text).toMatch(
    /Nothing is lost\. MySQL refused 1 message\. It lies whole in the dead letters/,
  );
});

test('not known is not 0, and without Redis nobody knows', () => {
  expect(standing(overview({}), 0).level).toBe('unknown');
  expect(standing(overview({ backlog: 4 }, 0, false), 0).title).toBe('Redis away');
});
