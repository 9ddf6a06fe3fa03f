import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test, vi } from 'vitest';
import type { HearthError, Listeners } from '../src/index';
import { FakeServer, type Obj } from './fake';

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

function mistakes(source: string): string[] {
  const path = fileURLToPath(new URL('./golden.generated.ts', import.meta.url));
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  };
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = host;
  host.fileExists = (name) => name === path || fileExists(name);
  host.getSourceFile = (name, ...rest) =>
    name === path ? ts.createSourceFile(name, source, ts.ScriptTarget.ES2022) : getSourceFile(name, ...rest);
  const program = ts.createProgram([path], options, host);
  return ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, '\n'));
}

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
