import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Hearth, HearthError } from '../src/index';
import { FakeServer, type Obj } from './fake';

interface Asked {
  url: string;
  init: RequestInit & { headers: Record<string, string> };
}

let hearth: Hearth;
let asked: Asked[];
/** What fetch does, call by call; the last one stays. */
let answers: ((asked: Asked) => Response | Promise<Response>)[];

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  answers = [() => json(200, {})];
  vi.stubGlobal('fetch', async (url: string, init: Asked['init']) => {
    asked.push({ url, init });
    const answer = answers.length > 1 ? answers.shift()! : answers[0]!;
    return answer({ url, init });
  });
  let tokens = 0;
  hearth = new FakeServer().connect({ url: 'https://chat.example.com/base/', token: () => `t${++tokens}` });
});

afterEach(() => {
  hearth.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const later = (ms = 60_000) => vi.advanceTimersByTimeAsync(ms);
const json = (status: number, body: unknown) => new Response(JSON.stringify(body), { status });
const never = () => new Promise<Response>(() => {});
const slot: Obj = {
  upload_url: '/v1/uploads/k/cat.png?sig=1',
  method: 'PUT',
  headers: { 'Content-Type': 'image/png' },
  url: '/v1/uploads/k/cat.png',
};

describe('a request', () => {
  test('goes below /v1 of the server, with the token', async () => {
    await later(100);
    answers = [() => json(201, { group: 'tea' })];
    expect(await hearth.http('POST', '/groups', { name: 'Tea' })).toEqual({ group: 'tea' });
    await hearth.http('GET', '/groups?limit=1');
    expect(asked.map(({ url, init }) => [init.method, url, init.headers, init.body])).toEqual([
      [
        'POST',
        'https://chat.example.com/base/v1/groups',
        { Authorization: 'Bearer t1', 'Content-Type': 'application/json' },
        '{"name":"Tea"}',
      ],
      ['GET', 'https://chat.example.com/base/v1/groups?limit=1', { Authorization: 'Bearer t1' }, undefined],
    ]);
  });

  test('with a token that is refused is asked again with another, once', async () => {
    await later(100);
    const refused = () => json(401, { code: 'unauthorized', detail: 'expired', retryable: false });
    answers = [refused, () => json(200, { ok: 1 })];
    expect(await hearth.http('GET', '/groups')).toEqual({ ok: 1 });
    expect(asked.map((a) => a.init.headers.Authorization)).toEqual(['Bearer t1', 'Bearer t2']);
    answers = [refused];
    await expect(hearth.http('GET', '/groups')).rejects.toMatchObject({ code: 'unauthorized', message: 'expired' });
    expect(asked).toHaveLength(4);
  });

  test.each([
    [429, { code: 'rate_limited', detail: 'slow', retryable: true, retry_after_ms: 9 }, 'rate_limited', true, 9],
    [403, { code: 'not_member', title: 'no', retryable: false }, 'not_member', false, undefined],
    [502, '<html>', 'unavailable', true, undefined],
    [413, '<html>', 'too_large', false, undefined],
    [418, '<html>', 'bad_request', false, undefined],
  ])(
    'answered with %d fails as the server, or the status, says',
    async (status, body, code, retryable, retryAfterMs) => {
      answers = [() => new Response(typeof body === 'string' ? body : JSON.stringify(body), { status })];
      await expect(hearth.http('GET', '/x')).rejects.toMatchObject({ code, retryable, retryAfterMs });
    },
  );

  test('many whose token is refused ask for one other token', async () => {
    await later(100);
    answers = [
      ({ init }) => (init.headers.Authorization === 'Bearer t1' ? json(401, { code: 'unauthorized' }) : json(200, {})),
    ];
    await Promise.all(['/a', '/b', '/c'].map((path) => hearth.http('GET', path)));
    expect(asked.map(({ init }) => init.headers.Authorization).sort()).toEqual(
      ['t1', 't1', 't1', 't2', 't2', 't2'].map((token) => `Bearer ${token}`),
    );
  });

  test('without a token fails as without an answer, or as the app says', async () => {
    let token = () => 'old';
    const own = new FakeServer().connect({ token: () => token() });
    answers = [() => json(401, { code: 'unauthorized', detail: '', retryable: false })];
    await later(100);
    token = () => {
      throw new TypeError('failed to fetch');
    };
    await expect(own.http('GET', '/x')).rejects.toMatchObject({ code: 'unavailable', retryable: true });
    token = () => {
      throw new HearthError({ code: 'forbidden', message: 'logged out', retryable: false });
    };
    await expect(own.http('GET', '/x')).rejects.toMatchObject({ code: 'forbidden' });
    own.close();
    const ended = new FakeServer().connect({ token: () => new Promise(() => {}) });
    ended.close();
    await expect(ended.http('GET', '/x')).rejects.toMatchObject({ code: 'closed' });
  });

  test('that has no answer fails, and so it does when the client ends', async () => {
    answers = [() => Promise.reject(new TypeError('failed to fetch'))];
    await expect(hearth.http('GET', '/x')).rejects.toMatchObject({ code: 'unavailable', retryable: true });
    answers = [({ init }) => aborted(init.signal!)];
    const slow = expect(hearth.http('GET', '/x')).rejects.toMatchObject({ code: 'unavailable' });
    await later();
    await slow;
    const cut = expect(hearth.http('GET', '/x')).rejects.toMatchObject({ code: 'closed' });
    await later(100);
    hearth.close();
    await cut;
    await expect(hearth.http('GET', '/x')).rejects.toMatchObject({ code: 'closed' });
  });

  test('can be given up', async () => {
    answers = [never];
    const controller = new AbortController();
    const given = expect(hearth.http('GET', '/x', undefined, controller.signal)).rejects.toThrow('enough');
    await later(100);
    controller.abort(new Error('enough'));
    await given;
  });
});

function aborted(signal: AbortSignal): Promise<Response> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))));
}

describe('an upload', () => {
  test('asks for a place and puts the bytes there, without the token', async () => {
    answers = [() => json(201, slot), () => new Response(null, { status: 204 })];
    const file = new File(['meow'], 'cat.png', { type: 'image/png' });
    expect(await hearth.upload(file)).toEqual({ url: slot.url, name: 'cat.png', type: 'image/png', bytes: 4 });
    expect(asked[0]!.init.body).toBe('{"name":"cat.png","content_type":"image/png","bytes":4}');
    expect(asked[1]).toMatchObject({
      url: 'https://chat.example.com/base/v1/uploads/k/cat.png?sig=1',
      init: { method: 'PUT', headers: { 'Content-Type': 'image/png' }, body: file },
    });
    expect(asked[1]!.init.headers).not.toHaveProperty('Authorization');
    expect(hearth.absolute(slot.url)).toBe('https://chat.example.com/base/v1/uploads/k/cat.png');
    expect(hearth.absolute('https://other/x.png')).toBe('https://other/x.png');
  });

  test('takes bytes, and a URL of the bucket', async () => {
    answers = [() => json(201, { ...slot, upload_url: 'https://bucket/k' }), () => new Response(null)];
    const { bytes, name, type } = await hearth.upload(new Uint8Array(7), { name: 'a.bin' });
    expect([bytes, name, type]).toEqual([7, 'a.bin', 'application/octet-stream']);
    expect(asked[1]!.url).toBe('https://bucket/k');
  });

  test('is repeated with a place of its own, and fails with what stays', async () => {
    answers = [
      () => json(429, { code: 'rate_limited', detail: '', retryable: true, retry_after_ms: 3000 }),
      () => json(201, slot),
      () => Promise.reject(new TypeError('cut')),
      () => json(201, { ...slot, url: '/second' }),
      () => new Response(null, { status: 204 }),
    ];
    const uploaded = hearth.upload(new Blob(['x']));
    await later(2900);
    expect(asked).toHaveLength(1);
    await later();
    expect((await uploaded).url).toBe('/second');
    answers = [() => json(400, { code: 'bad_request', detail: 'content_type', retryable: false })];
    await expect(hearth.upload(new Blob(['x']))).rejects.toMatchObject({ code: 'bad_request' });
  });

  test('is repeated when there is no token for the moment', async () => {
    let fails = 0;
    const own = new FakeServer().connect({
      token: () => {
        if (fails-- === 1) throw new TypeError('failed to fetch');
        return 'token';
      },
    });
    await later(100);
    fails = 1;
    answers = [
      () => json(401, { code: 'unauthorized', detail: '', retryable: false }),
      () => json(201, slot),
      () => new Response(null, { status: 204 }),
    ];
    const uploaded = own.upload(new Blob(['x']));
    await later();
    own.close();
    expect((await uploaded).url).toBe(slot.url);
  });

  test('can be given up, also between attempts', async () => {
    answers = [() => json(503, { code: 'overloaded', detail: '', retryable: true, retry_after_ms: 60_000 })];
    const controller = new AbortController();
    const given = expect(hearth.upload(new Blob(['x']), { signal: controller.signal })).rejects.toThrow('enough');
    await later(100);
    controller.abort(new Error('enough'));
    await given;
    const closed = expect(hearth.upload(new Blob(['x']))).rejects.toMatchObject({ code: 'closed' });
    await later(100);
    hearth.close();
    await closed;
  });
});
