import { expect, test } from 'vitest';
import { append, concerns, FrameLog, spread } from '../chat/frames';

const short = (log: FrameLog, direction: 'in' | 'out', frame: object | string) =>
  log.frame(direction, typeof frame === 'string' ? frame : JSON.stringify(frame)).map(({ label, seq }) => [label, seq]);

test('a frame has a line for each object', () => {
  const log = new FrameLog();
  const lines = log.frame(
    'in',
    '{"event":"message","group":"tea","seq":1}\n{"event":"message","group":"tea","seq":2}\n',
  );
  expect(lines.map(({ seq, group, tone }) => [seq, group, tone])).toEqual([
    ['#1', 'tea', 'event'],
    ['#2', 'tea', 'event'],
  ]);
  expect(new Set(lines.map(({ key }) => key)).size).toBe(2);
});

test('a reply is told by what was asked', () => {
  const log = new FrameLog();
  expect(short(log, 'out', { id: 1, op: 'subscribe', group: 'tea', after_seq: 41 })).toEqual([['subscribe', '>41']]);
  const page = { max_seq: 57, messages: [{ seq: 42 }, { seq: 57 }], holes: [], more: false };
  const [line] = log.frame('in', JSON.stringify({ id: 1, ok: page }));
  expect(line).toMatchObject({ label: 'ok subscribe', seq: '#42…57', group: 'tea', tone: 'reply', lesson: true });
  expect(line!.meaning).toBe('#42…57, in order, none missing. From here on they are pushed.');
});

test('a refusal says whether to try again', () => {
  const log = new FrameLog();
  log.frame('out', '{"id":3,"op":"send","group":"tea"}');
  const error = { code: 'rate_limited', message: 'too many messages', retryable: true, retry_after_ms: 50 };
  const [line] = log.frame('in', JSON.stringify({ id: 3, error }));
  expect(line).toMatchObject({ label: 'send rate_limited', tone: 'error' });
  expect(line!.meaning).toBe('too many messages – try again, in 50 ms, with the same client_id.');
});

test('a new connection knows nothing of old questions', () => {
  const log = new FrameLog();
  log.frame('out', '{"id":1,"op":"send","group":"tea"}');
  expect(log.opened('ws://x').tone).toBe('note');
  expect(short(log, 'in', { id: 1, ok: {} })).toEqual([['ok', undefined]]);
});

test('every op and event has a meaning, and what is unknown is shown all the same', () => {
  const log = new FrameLog();
  const ops = 'send signal subscribe unsubscribe sync pull read recall hot ping refresh new-one'.split(' ');
  const events = 'welcome message durable recall signal read group hot resync goodbye new-one'.split(' ');
  for (const op of ops) expect(log.frame('out', JSON.stringify({ id: 1, op }))[0]).toMatchObject({ label: op });
  for (const event of events) expect(log.frame('in', JSON.stringify({ event }))[0]).toMatchObject({ label: event });
  expect(short(log, 'in', 'not JSON')).toEqual([['ok', undefined]]);
});

test('the newest lines are kept', () => {
  const log = new FrameLog();
  let lines = append([], []);
  for (let n = 0; n < 310; n++) lines = append(lines, [log.note(`${n}`)]);
  expect(lines).toHaveLength(300);
  expect(lines.at(-1)!.text).toBe('309');
});

test('an object is spread out, anything else left', () => {
  expect(spread('{"a":1}')).toBe('{\n  "a": 1\n}');
  expect(spread('so')).toBe('so');
});

test('a line concerns its room, or the connection; the ranking concerns none', () => {
  const log = new FrameLog();
  const about = (object: object) => concerns(log.frame('in', JSON.stringify(object))[0]!, 'tea');
  expect(about({ event: 'message', group: 'tea', seq: 1 })).toBe(true);
  expect(about({ event: 'message', group: 'music', seq: 1 })).toBe(false);
  expect(about({ event: 'welcome' })).toBe(true);
  expect(about({ event: 'hot' })).toBe(false);
});
