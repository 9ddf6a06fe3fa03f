import { expect, test } from 'vitest';
import { format, parse, type Route } from '../route';

const routes: [string, Route][] = [
  ['#/', { view: 'overview', metric: 'messages' }],
  ['#/?rates=tea', { view: 'overview', rates: 'tea', metric: 'messages' }],
  ['#/?of=deliveries', { view: 'overview', metric: 'deliveries' }],
  ['#/room', { view: 'room' }],
  ['#/room/dm%3Aann%3Abob', { view: 'room', group: 'dm:ann:bob' }],
  ['#/inspect/group', { view: 'inspect', kind: 'group' }],
  ['#/inspect/user/a%23b', { view: 'inspect', kind: 'user', id: 'a#b' }],
  ['#/config', { view: 'config' }],
];

test.each(routes)('%s there and back', (hash, route) => {
  expect(parse(hash)).toEqual(route);
  expect(format(route)).toBe(hash);
});

test('what is not known is the overview, and a lone % breaks nothing', () => {
  for (const hash of ['', '#', '#view', '#/nothing/here']) expect(parse(hash).view).toBe('overview');
  expect(parse('#/room/50%')).toEqual({ view: 'room', group: '50%' });
  expect(parse('#/?rates=tea&of=nonsense')).toEqual({ view: 'overview', rates: 'tea', metric: 'messages' });
});
