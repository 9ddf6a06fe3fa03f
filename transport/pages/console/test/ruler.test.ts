import { expect, test } from 'vitest';
import { ruler } from '../ruler';
import type { GroupReport } from '../types';

const nothing: GroupReport = { group: 'tea', redis: null, mysql: null, unwritten: null, holes: [] };

test('nobody knows of a message', () => {
  expect(ruler(nothing)).toBeNull();
  expect(ruler({ ...nothing, redis: { max_seq: 0 }, mysql: { min_seq: 0, max_seq: 0, count: 0 } })).toBeNull();
});

test('ranges lie where they belong, from one edge to the other', () => {
  const r = ruler({
    ...nothing,
    mysql: { min_seq: 1, max_seq: 118, count: 117 },
    redis: { recent_from: 21, recent_to: 120 },
    unwritten: { from: 119, to: 120, count: 2 },
    holes: [{ from: 5, to: 5, reason: 'lost' }],
  })!;
  expect([r.first, r.last]).toEqual([1, 120]);
  const [mysql, recent, unwritten, holes] = r.lanes.map((l) => l.bars[0]!);
  expect(mysql!.left).toBe(0);
  expect(recent!.left + recent!.width).toBeCloseTo(1);
  expect(unwritten!.left).toBeCloseTo(mysql!.left + mysql!.width);
  expect(holes!.left).toBeGreaterThan(0);
  expect(holes!.left + holes!.width).toBeLessThan(recent!.left);
});

test('a jump of a million leaves room for the rest', () => {
  const r = ruler({
    ...nothing,
    mysql: { min_seq: 1, max_seq: 1_000_150, count: 200 },
    holes: [{ from: 101, to: 1_000_100, reason: 'lost' }],
  })!;
  const hole = r.lanes[3]!.bars[0]!;
  expect(hole.left).toBeGreaterThan(0.15);
  expect(hole.width).toBeLessThan(0.7);
});
