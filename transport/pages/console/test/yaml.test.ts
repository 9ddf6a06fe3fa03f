import { expect, test } from 'vitest';
import { find, lines } from '../yaml';

const yaml = `# hearth
redis:
  addrs: [a:6379]
  password: '***'
auth:
  api_keys:
    - "***"
  jwt:
    hmac_secret: '***' # set
`;

const all = lines(yaml);
const keys = (words: string) => find(all, words).map((l) => l.key);

test('the lines are as they were', () => {
  const text = all.map(
    (l) =>
      l.indent +
      (l.name ? `${l.name}:${l.value && ` ${l.value}`}` : (l.value ?? '')) +
      (l.name && l.comment ? ' ' : '') +
      (l.comment ?? ''),
  );
  expect(`${text.join('\n')}\n`).toBe(yaml);
});

test('a key is found with the sections above it', () => {
  expect(keys('hmac')).toEqual(['auth', 'auth.jwt', 'auth.jwt.hmac_secret']);
  expect(keys('redis.pass')).toEqual(['redis', 'redis.password']);
});

test('a value is found, and a section with all that is in it', () => {
  expect(keys('6379')).toEqual(['redis', 'redis.addrs']);
  expect(keys('AUTH')).toEqual(['auth', 'auth.api_keys', 'auth.api_keys', 'auth.jwt', 'auth.jwt.hmac_secret']);
  expect(keys('nothing like it')).toEqual([]);
  expect(find(all, ' ')).toEqual(all);
});
