import { expect, test } from 'vitest';
import {
  friendlyName,
  hueOf,
  initials,
  isRoom,
  isUser,
  mentionsOf,
  readAddress,
  whyNoRoom,
  whyNoUser,
  withoutPrefix,
  withPrefix,
} from '../chat/names';

test('a random name is an id, and the same for the same luck', () => {
  for (const luck of [0, 0.5, 0.999]) expect(isUser(friendlyName(() => luck))).toBe(true);
  expect(friendlyName(() => 0)).toBe('brave-badger-10');
  expect(friendlyName(() => 0.999)).toBe('witty-wren-99');
});

test('reserved ids and what is no id are refused', () => {
  for (const id of ['', 'a b', '<b>', 'x'.repeat(65), 'system']) expect(isUser(id)).toBe(false);
  for (const id of ['', 'hot', '.', '..', 'dm:a:b']) expect(isRoom(id)).toBe(false);
  expect(isRoom('tea')).toBe(true);
});

test('the address says who and where', () => {
  expect(readAddress('?user=ann&room=tea')).toEqual({ user: 'ann', room: 'tea', refused: [] });
  expect(readAddress('?room=tea')).toEqual({ room: 'tea', refused: [] });
  expect(readAddress('')).toEqual({ refused: [] });
});

test('an address that says no ids is told why', () => {
  const { refused, ...rest } = readAddress('?user=%3Cb%3E&room=..');
  expect(rest).toEqual({});
  expect(refused).toEqual([
    '“<b>” is no user’s name: letters, digits and _ . @ # - only, 64 at most',
    '“..” is no room id: dots alone lead elsewhere in an address',
  ]);
  expect(readAddress(`?user=${'x'.repeat(62)}`, 'demo-').refused).toHaveLength(1);
});

test('a name that is none is told why', () => {
  expect(whyNoUser('demo-', 'ann')).toBe('');
  expect(whyNoUser('', '')).toBe('a user needs a name');
  expect(whyNoUser('demo-', '')).toBe('a user needs a name');
  expect(whyNoUser('', 'system')).toBe('“system” is no user’s name: it is reserved');
  expect(whyNoUser('', 'ann smith')).toContain('“ann smith” is no user’s name: letters');
  expect(whyNoRoom('tea')).toBe('');
  expect(whyNoRoom('')).toBe('a room needs an id');
  expect(whyNoRoom('a b')).toContain('“a b” is no room id: letters');
});

test('the prefix is put once, and not shown', () => {
  expect(withPrefix('demo-', 'ann')).toBe('demo-ann');
  expect(withPrefix('demo-', 'demo-ann')).toBe('demo-ann');
  expect(withPrefix('', 'ann')).toBe('ann');
  expect(withoutPrefix('demo-', 'demo-ann')).toBe('ann');
  expect(withoutPrefix('demo-', 'bot-ada')).toBe('bot-ada');
});

test('mentions are of users who are known', () => {
  const known = (name: string) => (['ann', 'sunny-otter-42'].includes(name) ? name : undefined);
  expect(mentionsOf('@ann, and @sunny-otter-42.', known)).toEqual(['ann', 'sunny-otter-42']);
  expect(mentionsOf('@ann @ann', known)).toEqual(['ann']);
  expect(mentionsOf('ann@example.org @nobody', known)).toEqual([]);
});

test('colours and letters stand for a name', () => {
  expect(hueOf('ann')).toBe(hueOf('ann'));
  expect(hueOf('ann')).not.toBe(hueOf('bob'));
  expect(initials('sunny-otter-42')).toBe('SO');
  expect(initials('bot-ada')).toBe('A');
  expect(initials('...')).toBe('?');
});
