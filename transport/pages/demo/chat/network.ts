// The way between the page and the server, which the page's buttons cut, mend and lead elsewhere. To the SDK it is a
// WebSocket like any other: what it does about a cut is what it does on a train.

import type { SocketConstructor, SocketLike } from 'hearth-chat';

type Socket = Pick<WebSocket, 'send' | 'close' | 'onopen' | 'onmessage' | 'onclose' | 'onerror'>;

export interface Hooks {
  opening(url: string): void;
  frame(direction: 'in' | 'out', text: string): void;
}

export class Network {
  /** Base URL of the instance that a load balancer would choose. */
  instance: string;
  up = true;
  readonly #hooks: Hooks;
  readonly #lines = new Set<Line>();
  readonly #real: new (
    url: string,
    protocols: string[],
  ) => Socket;

  constructor(instance: string, hooks: Hooks, real: new (url: string, protocols: string[]) => Socket = WebSocket) {
    this.instance = instance;
    this.#hooks = hooks;
    this.#real = real;
  }

  /** For connect({webSocket}). */
  get socket(): SocketConstructor {
    const open = (line: Line, url: string, protocols: string[]) => this.#open(line, url, protocols);
    const forget = (line: Line) => this.#lines.delete(line);
    return class extends Line {
      constructor(url: string, protocols: string[]) {
        super(forget);
        open(this, url, protocols);
      }
    };
  }

  /** Cuts what is open; what is opened from now on fails, until mend. */
  drop(): void {
    this.up = false;
    this.#cut();
  }

  mend(): void {
    this.up = true;
    dispatchEvent(new Event('online')); // as a device does that is back in the net: the SDK does not wait for its turn
  }

  /** Cuts what is open; the next connection goes to another instance. */
  moveTo(instance: string): void {
    this.instance = instance;
    this.#cut();
  }

  #cut(): void {
    for (const line of [...this.#lines]) line.cut('the demo cut the connection');
  }

  #open(line: Line, url: string, protocols: string[]): void {
    if (!this.up) {
      queueMicrotask(() => line.cut('no network'));
      return;
    }
    const target = `${this.instance.replace(/^http/, 'ws')}${new URL(url).pathname}`;
    this.#hooks.opening(target);
    this.#lines.add(line);
    line.carry(new this.#real(target, protocols), this.#hooks);
  }
}

/** One connection; `real` is missing when there was no network. */
class Line implements SocketLike {
  onopen: SocketLike['onopen'] = null;
  onmessage: SocketLike['onmessage'] = null;
  onclose: SocketLike['onclose'] = null;
  onerror: SocketLike['onerror'] = null;
  #real: Socket | undefined;
  #hooks: Hooks | undefined;
  readonly #over: (line: Line) => void;

  constructor(over: (line: Line) => void) {
    this.#over = over;
  }

  carry(real: Socket, hooks: Hooks): void {
    this.#real = real;
    this.#hooks = hooks;
    real.onopen = (event) => this.onopen?.(event as never);
    real.onmessage = (event) => {
      if (typeof event.data === 'string') hooks.frame('in', event.data);
      this.onmessage?.(event as never);
    };
    real.onclose = (event) => {
      this.#end();
      this.onclose?.(event as never);
    };
  }

  send(data: string): void {
    this.#hooks?.frame('out', data);
    this.#real?.send(data);
  }

  close(code?: number, reason?: string): void {
    this.#end();
    this.#real?.close(code, reason);
  }

  cut(reason: string): void {
    this.close(1000);
    this.onclose?.({ code: 0, reason } as never);
  }

  #end(): void {
    this.#over(this);
    if (this.#real) {
      this.#real.onmessage = null;
      this.#real.onclose = null;
    }
  }
}
