// What is published: the built files.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import vm from 'node:vm';
import { gzipSync } from 'node:zlib';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';
import type * as Sdk from '../src/index';
import { FakeServer, FakeSocket, type Obj } from './fake';
import { mistakes } from './typecheck';

const dist = (name: string) => readFileSync(new URL(`../dist/${name}`, import.meta.url), 'utf8');

test('the bundle costs a page 11 KB at most', () => {
  expect(gzipSync(dist('hearth.min.js'), { level: 9 }).length).toBeLessThan(11 * 1024);
});

test('who does not read exports finds the same: React Native before 0.79', () => {
  const { main, types, exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect({ types, default: main }).toEqual(exports['.']);
});

test('whatever the README calls is there', () => {
  const block = readFileSync(new URL('../README.md', import.meta.url), 'utf8').match(/```ts\n([\s\S]*?)```/)![1]!;
  const around =
    'declare const url: string, me: string, file: File, token: () => string, show: (...things: unknown[]) => void;';
  expect(mistakes(`${block}${around}`)).toEqual([]);
  expect(mistakes(`${block.replace('markRead', 'markAsRead')}${around}`)).toHaveLength(1);
});

test('what is handed out may be handed in again, where undefined is no missing field either', () => {
  expect(mistakes("import { type Message, textOf } from 'hearth-chat'; declare const m: Message; textOf(m);")).toEqual(
    [],
  );
});

/**
 * The signals of React Native, which know neither reasons nor throwIfAborted.
 */
class OldAbortController {
  readonly signal = new OldAbortSignal();
  abort(): void {
    if (this.signal.aborted) return;
    this.signal.aborted = true;
    for (const listener of [...this.signal.listeners]) listener();
  }
}

class OldAbortSignal {
  aborted = false;
  readonly listeners = new Set<() => void>();
  addEventListener(_: string, listener: () => void): void {
    this.listeners.add(listener);
  }
  removeEventListener(_: string, listener: () => void): void {
    this.listeners.delete(listener);
  }
}

/** The package in a context that has only what React Native has beside the language. */
function load(file: string, more: Obj = {}): { sdk: typeof Sdk; globals: Obj } {
  const server = new FakeServer();
  const { outputText } = ts.transpileModule(dist(file), {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  const exports: Obj = {};
  const globals: Obj = {
    exports,
    setTimeout,
    clearTimeout,
    queueMicrotask,
    AbortController: OldAbortController,
    WebSocket: class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(server, url, protocols);
      }
    },
    // Hermes: no asyncIterator.
    Symbol: { iterator: Symbol.iterator },
    server,
    ...more,
  };
  vm.runInNewContext(outputText, globals);
  return { sdk: exports as typeof Sdk, globals };
}

describe.each(['index.js', 'hearth.min.js'])('%s where there is only what React Native has', (file) => {
  test('connects, sends, reads', async () => {
    const { sdk, globals } = load(file);
    const hearth = sdk.connect({ url: 'http://fake', token: () => 'token', storage: sdk.browserStorage() });
    const room = hearth.group('tea');
    const stream = room.messages({ after: 0 });
    const pending = room.send('hello');
    expect(pending.clientId).toMatch(/^[0-9a-f]{32}$/);
    expect((await pending).seq).toBe(1);
    expect((await stream.next()).value).toMatchObject({ seq: 1, client_id: pending.clientId });
    // How a loop that was compiled for Hermes finds its iterator.
    expect((stream as unknown as Record<string, () => unknown>)['@@asyncIterator']!()).toBe(stream);
    for await (const page of room.history()) expect(page.messages).toHaveLength(1);
    hearth.reconnect();
    globals.server.last.cut();
    await hearth.online();
    hearth.close();
    await expect(stream.next()).rejects.toMatchObject({ code: 'closed' });
    await expect(hearth.online()).rejects.toBeInstanceOf(sdk.ClosedError);
  });

  test('gives up a send and an upload', async () => {
    const asked: Obj[] = [];
    const { sdk } = load(file, {
      fetch: (url: string, init: Obj) => {
        asked.push({ url, init });
        return new Promise(() => {});
      },
    });
    const hearth = sdk.connect({ url: 'http://fake', token: () => 'token' });
    await hearth.online();
    const controller = new OldAbortController();
    const signal = controller.signal as unknown as AbortSignal;
    const upload = hearth.upload({ size: 3, type: 'image/png' } as Blob, { signal, name: 'x.png' });
    controller.abort();
    await expect(upload).rejects.toMatchObject({ name: 'AbortError' });
    await expect(hearth.group('tea').send('x', { signal })).rejects.toMatchObject({ name: 'AbortError' });
    hearth.close();
  });
});

test('with the WebSocket of Node a connection that is refused is over at once', async () => {
  const refusing = createServer().on('upgrade', (_, socket) => socket.end('HTTP/1.1 401 Unauthorized\r\n\r\n'));
  await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
  const { port } = refusing.address() as AddressInfo;
  const program = `
    import { connect } from ${JSON.stringify(new URL('../dist/index.js', import.meta.url).href)};
    const hearth = connect({ url: 'http://127.0.0.1:${port}', token: () => 'token' });
    hearth.on('state', ({ state, code, reason }) => {
      if (state !== 'waiting') return;
      console.log(code, reason);
      process.exit();
    });`;
  const node = ['--experimental-websocket', '--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, node);
  refusing.close();
  expect(stdout).toBe('0 the connection was lost or refused\n'); // and not: no welcome
}, 60_000);
