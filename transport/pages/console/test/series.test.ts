import { expect, test } from 'vitest';
import { last, ofGroup, ofInstances, peak, sum } from '../series';

const rates = {
  step_ms: 2000,
  from_ms: 10_000,
  instances: [
    { name: 'b', messages: [null, 2, 3], deliveries: [null, 20, 30] },
    { name: 'a', messages: [1, 1, null], deliveries: [10, 10] },
  ],
};

test('a line per instance, by name, over the same times', () => {
  const s = ofInstances(rates, 'messages');
  expect(s.names).toEqual(['a', 'b']);
  expect(s.times).toEqual([10, 12, 14]);
  expect(s.rows).toEqual([
    [1, 1, null],
    [null, 2, 3],
  ]);
});

test('a shorter row is filled with what is not known', () => {
  expect(ofInstances(rates, 'deliveries').rows[0]).toEqual([10, 10, null]);
});

test('sums leave out who did not live', () => {
  const s = ofInstances(rates, 'messages');
  expect([0, 1, 2, 3].map((i) => sum(s, i))).toEqual([1, 3, 3, null]);
  expect([last(s), peak(s)]).toEqual([2, 3]);
});

test('one group is one line', () => {
  const s = ofGroup({ step_ms: 5000, from_ms: 0, group: 'tea', messages: [0, 4, null] });
  expect([s.names, s.times, last(s)]).toEqual([['tea'], [0, 5, 10], 1]);
});

test('nothing at all', () => {
  const s = ofInstances({ step_ms: 2000, from_ms: 0, instances: [] }, 'messages');
  expect([s.times, last(s), peak(s)]).toEqual([[], -1, 0]);
});
