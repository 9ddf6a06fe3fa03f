import { expect, test } from 'vitest';
import { burstText, catchUpText, heatText, holeText, howLong, receiptText, typingText } from '../chat/words';

test('heat is told in people and time', () => {
  expect(heatText(3, 300_000)).toBe('3 people spoke in the last 5 minutes');
  expect(heatText(1, 60_000)).toBe('1 person spoke in the last minute');
  expect(heatText(0, 300_000)).toBe('nobody spoke in the last 5 minutes');
});

test('a catch-up tells from where to where', () => {
  const absence = { after: 41, ms: 12_400, maxSeq: 57, lost: 0 };
  expect(catchUpText(absence)).toBe(
    'You were away for 12 seconds. subscribe after_seq 41 brought #42…#57: nothing missing.',
  );
  expect(catchUpText({ ...absence, maxSeq: 42 })).toContain('brought #42: nothing missing');
  expect(catchUpText({ ...absence, maxSeq: 41 })).toContain('brought nothing: nobody spoke');
  expect(catchUpText({ ...absence, movedTo: 'dev-2' })).toBe(
    'You are at dev-2 now, with the same last seq. subscribe after_seq 41 brought #42…#57: nothing missing.',
  );
  expect(catchUpText({ ...absence, lost: 10 })).toContain('brought #42…#57; 6 messages, and the hole is explained');
});

test('a hole has its reason', () => {
  expect(holeText({ from: 42, to: 1_000_041, reason: 'lost' })).toBe(
    '#42…#1000041: 1,000,000 seqs without a message. Redis lost its numbers: hearth skips ahead rather than give a seq twice.',
  );
  expect(holeText({ from: 7, to: 7, reason: 'lost' })).toBe(
    '#7 is no message: it was lost, and its number is not given again.',
  );
  expect(holeText({ from: 1, to: 1, reason: 'expired' })).toContain('#1 is no message. They grew old');
  expect(holeText({ from: 2, to: 3 })).toBe('#2…#3: 2 seqs without a message.');
});

test('a burst tells why not all of it was kept', () => {
  const burst = { sent: 100, kept: 40, refused: 0, over: false };
  expect(burstText(burst, false)).toBe('Burst: 40 of 100 kept.');
  expect(burstText({ ...burst, refused: 60 }, false)).toMatch(
    /40 of 100 kept\. .*“rate_limited” 60 times: a user may say only so much/,
  );
  expect(burstText({ ...burst, kept: 73, refused: 90, over: true }, true)).toBe(
    'Burst: 73 of 100 kept, each once; 27 refused: a user may say only so much a second, so that nobody drowns a room.',
  );
  expect(burstText({ ...burst, kept: 100, over: true }, false)).toBe(
    'Burst: 100 of 100 kept, each once. The heat rose by one person at most: you.',
  );
});

test('receipts and typing name a few and count many', () => {
  expect(receiptText([])).toBe('kept');
  expect(receiptText(['ann', 'bob'])).toBe('read by ann and bob');
  expect(receiptText(['ann', 'bob', 'eve'])).toBe('read by 3');
  expect(typingText([])).toBe('');
  expect(typingText(['ann'])).toBe('ann is typing …');
  expect(typingText(['ann', 'bob'])).toBe('ann and bob are typing …');
  expect(typingText(['ann', 'bob', 'eve'])).toBe('3 people are typing …');
});

test('times are rounded for people', () => {
  expect([200, 1000, 59_400, 60_000, 150_000].map(howLong)).toEqual([
    '1 second',
    '1 second',
    '59 seconds',
    '1 minute',
    '3 minutes',
  ]);
});
