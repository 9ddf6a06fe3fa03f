import { expect, test } from 'vitest';
import { area, line, thin, top, window } from '../spark';

const box = { width: 100, height: 20, max: 10 };

test('the highest value is at the top, 0 at the bottom', () => {
  expect(line([0, 5, 10], box)).toBe('M0 20L50 10L100 0');
});

test('a value that is not known breaks the line', () => {
  expect(line([0, 0, null, 10, 10], box)).toBe('M0 20L25 20M75 0L100 0');
  expect(area([null, 10, 10], box)).toBe('M50 0L100 0L100 20L50 20Z');
});

test('no line of one value, nor of none', () => {
  expect([line([], box), line([4], box), line([null, 4, null], box), area([null, null], box)]).toEqual([
    '',
    '',
    '',
    '',
  ]);
});

test('above the top is cut off', () => {
  expect(line([30, 0], box)).toBe('M0 0L100 20');
});

test('nothing but zeros is a line at the bottom', () => {
  expect(line([0, 0], { ...box, max: top([0, 0]) })).toBe('M0 20L100 20');
});

test('a window begins later when there is little to show', () => {
  expect(window([1, 2], 4)).toEqual([null, null, 1, 2]);
  expect(window([1, 2, 3], 2)).toEqual([2, 3]);
});

test('thinning keeps bursts and gaps', () => {
  expect(thin([1, 9, 1, 1, null, null], 3)).toEqual([9, 1, null]);
  expect(thin([1, 2], 3)).toEqual([1, 2]);
});
