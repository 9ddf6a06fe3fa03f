import { expect, test } from 'vitest';
import { change, heats, remember, type Standing } from '../ranks';
import type { Hot } from '../types';

/** Rankings, two seconds apart, each the groups in their order. */
function rankings(...orders: string[]): readonly Standing[] {
  return orders.reduce<readonly Standing[]>((past, order, i) => remember(past, ranking(order, i * 2000)), []);
}

function ranking(order: string, time_ms: number): Hot {
  const groups = [...order].map((group, i) => ({ rank: i + 1, group, heat: order.length - i }));
  return { snapshot: String(time_ms), time_ms, window_ms: 300_000, groups };
}

test('places gained and lost, and who is new', () => {
  const past = rankings('abc', 'cabd');
  expect(['a', 'b', 'c', 'd', 'x'].map((g) => change(past, g))).toEqual([-1, -1, 2, 'new', 0]);
});

test('the first ranking has no change', () => {
  expect(change(rankings('ab'), 'a')).toBe(0);
  expect(change([], 'a')).toBe(0);
});

test('compared with a minute ago, not with the ranking before', () => {
  const past = rankings('ab', ...Array<string>(10).fill('ba'));
  expect(change(past, 'b')).toBe(1);
  const later = rankings('ab', ...Array<string>(40).fill('ba'));
  expect(change(later, 'b')).toBe(0);
});

test('the same ranking told again is not remembered twice', () => {
  const past = rankings('ab');
  expect(remember(past, ranking('ba', 0))).toBe(past);
});

test('heat over time, 0 where a group was not ranked; forgotten after five minutes', () => {
  expect(heats(rankings('ab', 'a', 'ba'), 'b')).toEqual([1, 0, 2]);
  expect(rankings(...Array<string>(400).fill('a')).length).toBe(150);
});
