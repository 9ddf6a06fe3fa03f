import { expect, test } from 'vitest';
import { ago, bytes, count, duration, exact, latency, plural, range, rate, tick } from '../format';

test('what is not known is a dash, and 0 is 0', () => {
  expect([count(undefined), rate(undefined), latency(undefined), exact(undefined)]).toEqual(['–', '–', '–', '–']);
  expect([count(0), rate(0), latency(0), exact(0)]).toEqual(['0', '0', '0 ms', '0']);
});

test('counts have thousands, from a million on they are short, seqs never', () => {
  expect(count(4210)).toBe('4,210');
  expect(count(1_254_000)).toBe('1.25M');
  expect(exact(1_000_120)).toBe('1,000,120');
});

test('small rates have a tenth', () => {
  expect([rate(0.3), rate(9.94), rate(12.5), rate(2_979)]).toEqual(['0.3', '9.9', '13', '2,979']);
});

test('durations have two units at most, and no empty one', () => {
  const s = 1000;
  expect([0, 12 * s, 250 * s, 120 * s, 11_520 * s, 5 * 86_400 * s + 3 * 3600 * s].map(duration)).toEqual([
    '0 s',
    '12 s',
    '4 min 10 s',
    '2 min',
    '3 h 12 min',
    '5 d 3 h',
  ]);
  expect(duration(-4000)).toBe('0 s');
});

test('latencies', () => {
  expect([1.24, 14.4, 999, 1200, 12_345].map(latency)).toEqual(['1.2 ms', '14 ms', '999 ms', '1.2 s', '12 s']);
});

test('ago: a clock that is ahead reads now', () => {
  expect([ago(5000, 4000), ago(5000, 5900), ago(5000, 7000)]).toEqual(['now', 'now', '2 s ago']);
});

test('ranges, plurals, bytes', () => {
  expect([range(5, 5), range(5, 1009), range(undefined, 3)]).toEqual(['5', '5–1,009', '–']);
  expect([plural(1, 'message'), plural(4210, 'message')]).toEqual(['1 message', '4,210 messages']);
  expect([bytes(900), bytes(11_904), bytes(3 << 20)]).toEqual(['900 B', '11.6 KiB', '3.0 MiB']);
});

test('the numbers beside a chart are not rounded into others', () => {
  expect([0, 0.25, 0.75, 1.5, 250, 2500].map(tick)).toEqual(['0', '0.25', '0.75', '1.5', '250', '2.5K']);
});
