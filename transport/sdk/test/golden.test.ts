import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test, vi } from 'vitest';
import type { HearthError, Hole, Listeners, Message } from '../src/index';
import { FakeServer, type Obj } from './fake';
import { mistakes } from './typecheck';

const folder = fileURLToPath(new URL('../../wire/testdata/golden/', import.meta.url));
const frames = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => ({ name: name.replace('.json', ''), text: readFileSync(folder + name, 'utf8') }));

/** The type of a golden frame: events by their name, replies by the ops they are of. */
function typeOf(name: string, object: Obj): string {
  if (object.event) return `Events['${object.event}'] & { event: '${object.event}' }`;
  if (object.error) return 'Reply<never>';
  const answers: [RegExp, string][] = [
    [/^sent/, "Answer<'send'>"],
    [/^subscribed/, "Answer<'subscribe'>"],
    [/^pulled/, "Answer<'pull'>"],
    [/^(synced|conversations)/, "Answer<'sync'>"],
    [/^presence/, "Answer<'presence'>"],
    [/^read/, "Answer<'read'>"],
    [/^refreshed/, "Answer<'refresh'>"],
    [/^pong/, "Answer<'ping'>"],
    [/^ok/, 'Empty'],
  ];
  const answer = answers.find(([pattern]) => pattern.test(name));
  if (!answer) throw new Error(`${name}.json is new: what is it the answer to?`);
  return `Reply<${answer[1]}>`;
}

test('the types fit every golden frame, field by field', () => {
  expect(frames.length).toBeGreaterThan(40);
  const lines = frames.map(({ name, text }) => `export const ${name}: ${typeOf(name, JSON.parse(text))} = ${text};`);
  const source = `import type { Answer, Empty, Events, Reply } from '../src/types';\n${lines.join('\n')}\n`;
  expect(mistakes(source)).toEqual([]);
  // The check sees a field that the types do not know, and one that is missing.
  expect(mistakes(source.replace('"max_seq"', '"max_seqs"'))).not.toEqual([]);
});

test('every golden event is heard as it was written', async () => {
  vi.useFakeTimers();
  const server = new FakeServer();
  const hearth = server.connect();
  await vi.advanceTimersByTimeAsync(100);
  const events = frames.map(({ text }) => JSON.parse(text) as Obj).filter((o) => o.event && o.event !== 'welcome');
  const heard: Obj[] = [];
  for (const name of new Set(events.map((e) => e.event))) {
    hearth.on(name as keyof Listeners, (event) => heard.push(event as Obj));
  }
  server.last.write(...events);
  await vi.advanceTimersByTimeAsync(100);
  expect(heard).toEqual(events);
  hearth.close();
  vi.useRealTimers();
});

test('every golden reply is the answer it says', async () => {
  vi.useFakeTimers();
  const server = new FakeServer();
  const hearth = server.connect();
  await vi.advanceTimersByTimeAsync(100);
  for (const { name, text } of frames) {
    const reply = JSON.parse(text) as Obj;
    if (reply.event || reply.id === undefined) continue;
    server.handlers.set('signal', () => ({ ok: reply.ok, error: reply.error }));
    const answer = hearth.request('signal', { group: 'g', kind: 'k' }).then(
      (ok) => ({ ok }),
      (error: HearthError) => ({ error }),
    );
    await vi.advanceTimersByTimeAsync(20);
    const got = (await answer) as { ok?: unknown; error?: HearthError };
    if (reply.ok) expect(got.ok, name).toEqual(reply.ok);
    else {
      const { code, message, retryable, retry_after_ms: retryAfterMs } = reply.error;
      expect(got.error, name).toMatchObject({ code, message, retryable, retryAfterMs });
    }
  }
  hearth.close();
  vi.useRealTimers();
});

test('every golden message reaches a reader as it was written, behind the hole it tells', async () => {
  vi.useFakeTimers();
  const pushes = frames.map(({ text }) => JSON.parse(text) as Obj).filter((o) => o.event === 'message');
  expect(pushes.length).toBeGreaterThan(10);
  for (const { event: _, prev_seq, ...message } of pushes) {
    const server = new FakeServer();
    const before = prev_seq ?? message.seq - 1;
    server.handlers.set('subscribe', ({ group }) => ({
      ok: { group, role: null, max_seq: before, read_seq: 0, unread: 0, messages: [], holes: [], more: false },
    }));
    const hearth = server.connect();
    const seen: (Message | Hole)[] = [];
    const note = (o: Message | Hole) => seen.push(o);
    hearth.group(message.group).follow({ after: before, onMessage: note, onHole: note });
    await vi.advanceTimersByTimeAsync(100);
    server.last.write({ event: 'message', ...(prev_seq !== undefined && { prev_seq }), ...message });
    await vi.advanceTimersByTimeAsync(100);
    const hole = prev_seq !== undefined ? [{ from: prev_seq + 1, to: message.seq - 1 }] : [];
    expect(seen).toEqual([...hole, message]);
    hearth.close();
  }
  vi.useRealTimers();
});

test('every golden page reaches a reader, messages and holes in their order', async () => {
  vi.useFakeTimers();
  const pages = frames.filter(({ name }) => name.startsWith('subscribed')).map(({ text }) => JSON.parse(text).ok);
  expect(pages.length).toBeGreaterThan(1);
  for (const page of pages) {
    const server = new FakeServer();
    server.handlers.set('subscribe', ({ after_seq }) => ({
      ok: after_seq === 1 ? page : { ...page, messages: [], holes: [], more: false },
    }));
    const hearth = server.connect();
    const seen: (Message | Hole)[] = [];
    const note = (o: Message | Hole) => seen.push(o);
    hearth.group(page.group).follow({ after: 1, onMessage: note, onHole: note });
    await vi.advanceTimersByTimeAsync(100);
    const place = (o: Obj) => o.seq ?? o.from;
    expect(seen).toEqual([...page.messages, ...page.holes].sort((a, b) => place(a) - place(b)));
    hearth.close();
  }
  vi.useRealTimers();
});

test('no golden frame disturbs a connection, in one frame either', async () => {
  vi.useFakeTimers();
  const server = new FakeServer();
  const hearth = server.connect();
  hearth.watchConversations(() => {});
  hearth.group('team').follow({ after: 0 });
  await vi.advanceTimersByTimeAsync(100);
  const calm = frames.filter(({ name }) => !name.startsWith('goodbye'));
  server.last.raw(calm.map(({ text }) => text).join('\n'));
  for (const { text } of calm) server.last.raw(text);
  await vi.advanceTimersByTimeAsync(60_000);
  expect([hearth.state, server.sockets.length]).toEqual(['online', 1]);
  hearth.close();
  vi.useRealTimers();
});

test('each golden goodbye says whether to come back', async () => {
  vi.useFakeTimers();
  for (const { name, text } of frames.filter((f) => f.name.startsWith('goodbye'))) {
    const server = new FakeServer();
    const hearth = server.connect();
    await vi.advanceTimersByTimeAsync(100);
    server.last.raw(text);
    await vi.advanceTimersByTimeAsync(10);
    server.last.cut();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(hearth.state, name).toBe(JSON.parse(text).code < 4500 ? 'online' : 'closed');
    hearth.close();
  }
  vi.useRealTimers();
});
