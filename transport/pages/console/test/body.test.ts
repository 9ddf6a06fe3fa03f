import { expect, test } from 'vitest';
import { parts } from '../body';

test('each element in a line', () => {
  expect(
    parts([
      { type: 'text', text: 'hi' },
      { type: 'voice', url: 'https://x.test/v', duration_ms: 3200 },
      { type: 'image', url: '/v1/uploads/a', width: 640, height: 480 },
      { type: 'file', url: 'https://x.test/f', name: 'plan.pdf', bytes: 2048 },
      { type: 'location', latitude: 1.5, longitude: 2 },
      { type: 'custom', data: { a: 1 } },
    ]),
  ).toEqual([
    { text: 'hi' },
    { label: 'voice', text: '3.2 s', url: 'https://x.test/v' },
    { label: 'picture', text: '640 × 480', url: '/v1/uploads/a' },
    { label: 'file', text: 'plan.pdf, 2.0 KiB', url: 'https://x.test/f' },
    { label: 'place', text: '1.5, 2' },
    { label: 'custom', text: '{"a":1}' },
  ]);
});

test('no link to anything but http and this server', () => {
  for (const url of ['javascript:alert(1)', '//x.test/a', 'data:text/html,x']) {
    expect(parts([{ type: 'sticker', url }])[0]).toEqual({ label: 'sticker', text: '' });
  }
});

test('a kind that is not known yet is named', () => {
  expect(parts([{ type: 'poll' } as never])).toEqual([{ label: 'poll', text: '' }]);
});
