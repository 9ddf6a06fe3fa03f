import type { Hole, Message } from 'hearth-chat';
import { expect, test } from 'vitest';
import { empty, end, merge, recall, rows } from '../room-log';

function message(seq: number): Message {
  return { group: 'tea', seq, time_ms: seq, from: 'ann', body: [{ type: 'text', text: `no. ${seq}` }] };
}

function page(seqs: number[], holes: Hole[] = []) {
  return { messages: seqs.map(message), holes };
}

/** Rows in short: a number is a message, "2-4 lost" a hole. */
function short(log: Parameters<typeof rows>[0]) {
  return rows(log).map((r) => (r.kind === 'message' ? r.message.seq : `${r.from}-${r.to} ${r.reason ?? '?'}`));
}

test('pages meet, and what is told twice shows once', () => {
  const log = merge(merge(empty, page([1, 2, 3])), page([3, 4]));
  expect(short(log)).toEqual([1, 2, 3, 4]);
  expect(end(log)).toBe(4);
});

test('a hole stands between the messages around it', () => {
  const log = merge(merge(empty, page([1, 2])), page([6], [{ from: 3, to: 5, reason: 'lost' }]));
  expect(short(log)).toEqual([1, 2, '3-5 lost', 6]);
});

test('a hole that pages cut in two is one', () => {
  const first = merge(empty, page([1], [{ from: 2, to: 4, reason: 'lost' }]));
  expect(end(first)).toBe(4);
  expect(short(first)).toEqual([1, '2-4 lost']);
  expect(short(merge(first, page([9], [{ from: 5, to: 8, reason: 'lost' }])))).toEqual([1, '2-8 lost', 9]);
});

test('a gap that nobody explains is shown as such', () => {
  expect(short(merge(empty, page([1, 6], [{ from: 3, to: 4, reason: 'expired' }])))).toEqual([
    1,
    '2-2 ?',
    '3-4 expired',
    '5-5 ?',
    6,
  ]);
});

test('a message that came back splits its hole', () => {
  const log = merge(merge(empty, page([1, 5], [{ from: 2, to: 4, reason: 'lost' }])), page([3]));
  expect(short(log)).toEqual([1, '2-2 lost', 3, '4-4 lost', 5]);
});

test('a hole before the first message is told', () => {
  expect(short(merge(empty, page([9], [{ from: 1, to: 8, reason: 'expired' }])))).toEqual(['1-8 expired', 9]);
  expect(short(merge(empty, page([], [{ from: 1, to: 8, reason: 'expired' }])))).toEqual(['1-8 expired']);
});

test('what is recalled keeps its place without its words', () => {
  const log = recall(merge(empty, page([1, 2])), [2], 'ops', 99);
  expect(log.messages[1]).toEqual({
    group: 'tea',
    seq: 2,
    time_ms: 2,
    from: 'ann',
    recalled_ms: 99,
    recalled_by: 'ops',
  });
  expect(log.messages[0]).toEqual(message(1));
});

test('a tombstone from the server takes the place of its message', () => {
  const { body: _, ...rest } = message(2);
  const tombstone = { ...rest, recalled_ms: 5, recalled_by: 'ann' } as Message;
  const log = merge(merge(empty, page([1, 2])), { messages: [tombstone], holes: [] });
  expect(log.messages[1]).toEqual(tombstone);
});

test('the last 500 are kept, and the holes among them', () => {
  const seqs = Array.from({ length: 600 }, (_, i) => i + 3);
  const holes: Hole[] = [
    { from: 1, to: 2, reason: 'lost' },
    { from: 603, to: 604, reason: 'lost' },
  ];
  const log = merge(empty, page([...seqs, 605], holes));
  expect(log.messages.length).toBe(500);
  expect(short(log).slice(-2)).toEqual(['603-604 lost', 605]);
  expect(short(log)[0]).toBe(104);
});
