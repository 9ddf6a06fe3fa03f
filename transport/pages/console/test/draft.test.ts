import { expect, test } from 'vitest';
import { draft } from '../draft';

test('a repeat has the id of the first attempt, another text another one', () => {
  const first = draft(undefined, 'hello');
  expect(first.client_id).toMatch(/^[0-9a-f]{24}$/);
  expect(draft(first, 'hello')).toEqual(first);
  expect(draft(first, 'hello!').client_id).not.toBe(first.client_id);
  expect(draft(undefined, 'hello').client_id).not.toBe(first.client_id);
});
