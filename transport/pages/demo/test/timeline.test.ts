import type { Message } from 'hearth-chat';
import { expect, test } from 'vitest';
import {
  type Entry,
  entryOf,
  entryOfHole,
  explain,
  isGapless,
  kindOf,
  lowest,
  merge,
  noteBehind,
  recall,
} from '../chat/timeline';

function message(seq: number, text = `${seq}`): Message {
  return { group: 'tea', seq, time_ms: seq, from: 'ann', body: [{ type: 'text', text }] };
}

const places = (entries: readonly Entry[]) => entries.map(({ at }) => at);

test('whatever comes when, messages stand in the order of seq', () => {
  let entries = merge([], [entryOf(message(5)), entryOf(message(6))]);
  entries = merge(entries, [entryOf(message(7)), entryOf(message(3)), entryOf(message(4))]);
  expect(places(entries)).toEqual([3, 4, 5, 6, 7]);
});

test('what is there already stays, once', () => {
  const entries = merge([entryOf(message(1, 'first'))], [entryOf(message(1, 'again'), true)]);
  expect(entries).toEqual([entryOf(message(1, 'first'))]);
});

test('a note stands behind its seq, and several do in their order', () => {
  const note = (key: number) => noteBehind(2, key, 'away');
  const entries = merge([], [entryOf(message(2)), note(1), entryOf(message(3)), note(2)]);
  expect(entries.map((e) => (e.kind === 'note' ? `note ${e.key}` : e.at))).toEqual([2, 'note 1', 'note 2', 3]);
});

test('the oldest give way', () => {
  const many = Array.from({ length: 1100 }, (_, n) => entryOf(message(n + 1)));
  const entries = merge([], many);
  expect(entries).toHaveLength(1000);
  expect(lowest(entries)).toBe(101);
});

test('gapless is: every seq a message or in a hole', () => {
  expect(isGapless([])).toBe(true);
  expect(isGapless(merge([], [entryOf(message(1)), noteBehind(1, 1, ''), entryOf(message(2))]))).toBe(true);
  expect(isGapless(merge([], [entryOf(message(1)), entryOf(message(3))]))).toBe(false);
  const hole = entryOfHole({ from: 2, to: 9, reason: 'lost' });
  expect(isGapless(merge([], [entryOf(message(1)), hole, entryOf(message(10))]))).toBe(true);
});

test('a recalled message keeps its seq and loses its body', () => {
  const entries = recall(merge([], [entryOf(message(1)), entryOf(message(2))]), 1, 'ann', 99);
  expect(places(entries)).toEqual([1, 2]);
  const [first, second] = entries as ReturnType<typeof entryOf>[];
  expect(first!.message).toEqual({
    group: 'tea',
    seq: 1,
    time_ms: 1,
    from: 'ann',
    recalled_ms: 99,
    recalled_by: 'ann',
  });
  expect(kindOf(first!.message)).toBe('recalled');
  expect(kindOf(second!.message)).toBe('text');
});

test('a hole gets the reason of the one that covers it', () => {
  const hole = entryOfHole({ from: 2, to: 9 });
  expect(explain([hole], [{ from: 1, to: 9, reason: 'lost' }])).toEqual([
    { ...hole, hole: { from: 2, to: 9, reason: 'lost' } },
  ]);
  expect(explain([hole], [{ from: 3, to: 9, reason: 'lost' }])).toEqual([hole]);
  const expired = entryOfHole({ from: 2, to: 9, reason: 'expired' });
  expect(explain([expired], [{ from: 2, to: 9, reason: 'lost' }])).toEqual([expired]);
});
