import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = fileURLToPath(new URL('../../../', import.meta.url));

/** A `hearth dev` of its own. HEARTH_BIN names a binary; without it one is built. */
export class Dev {
  readonly urls: string[];
  /** What app servers call with. */
  readonly key: string;
  /** For another one. */
  readonly binary: string;
  readonly #process: ChildProcess;
  readonly #folder: string;

  private constructor(process: ChildProcess, binary: string, folder: string, printed: string) {
    this.binary = binary;
    this.#process = process;
    this.#folder = folder;
    this.urls = [...printed.matchAll(/instance \d+ (\S+)/g)].map((match) => match[1]!);
    this.key = printed.match(/API key +(\S+)/)?.[1] ?? '';
    if (this.urls.length < 2 || !this.key) throw new Error(`hearth dev did not start: ${printed}`);
  }

  static async start(built = process.env.HEARTH_BIN): Promise<Dev> {
    const folder = mkdtempSync(join(tmpdir(), 'hearth-sdk-'));
    let binary = built;
    if (!binary) {
      binary = join(folder, 'hearth');
      execFileSync('go', ['build', '-o', binary, './cmd/hearth'], { cwd: repository });
    }
    const child = spawn(binary, ['dev', '--addr', '127.0.0.1:0', '--bots', '0'], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    await new Promise<void>((resolve) => {
      child.stdout.on('end', resolve);
      child.stdout.on('data', (chunk) => {
        text += chunk;
        if (text.includes('Ready in')) resolve();
      });
    });
    return new Dev(child, binary, folder, text);
  }

  async token(user: string): Promise<string> {
    const origin = this.urls[0]!;
    const response = await fetch(`${origin}/demo/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Origin: origin },
      body: JSON.stringify({ user, name: user }),
    });
    if (!response.ok) throw new Error(`no token: ${response.status}`);
    return ((await response.json()) as { token: string }).token;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      this.#process.kill('SIGTERM');
      await ended;
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * Passes connections on to a server, and cuts them in the middle of what they carry. The Host is the server's: dev refuses
 * others.
 */
export class CuttingProxy {
  cutting = false;
  cuts = 0;
  url = '';
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #random: () => number;

  private constructor(target: URL, random: () => number) {
    this.#random = random;
    this.#server = createServer((client) => this.#pass(client, target));
  }

  static async to(target: string, random: () => number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(new URL(target), random);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    const address = proxy.#server.address();
    if (!address || typeof address === 'string') throw new Error('no port');
    proxy.url = `http://127.0.0.1:${address.port}`;
    return proxy;
  }

  #pass(client: Socket, target: URL): void {
    const server = dial(Number(target.port), target.hostname);
    let left = 1 + Math.floor(this.#random() * 30); // chunks until the cut, if there is one
    const end = () => {
      client.destroy();
      server.destroy();
    };
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(from);
      from.on('error', end);
      from.on('close', () => {
        this.#sockets.delete(from);
        end();
      });
      let first = from === client;
      from.on('data', (received: Buffer) => {
        let chunk = received;
        if (first)
          chunk = Buffer.from(received.toString('latin1').replace(/^Host: .*$/m, `Host: ${target.host}`), 'latin1');
        first = false;
        if (!this.cutting || --left > 0) {
          to.write(chunk);
          return;
        }
        this.cuts++;
        to.write(chunk.subarray(0, Math.floor(this.#random() * chunk.length)), end);
      });
    }
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** mulberry32: the same numbers for the same seed. */
export function randomOf(seed: number): () => number {
  let a = seed;
  return () => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
