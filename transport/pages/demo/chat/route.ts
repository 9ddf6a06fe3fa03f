import type { SocketConstructor } from 'hearth-chat';

type Constructor = new (url: string, protocols: string[]) => WebSocket;

/** Stands for the load balancer: to which instance the next connection goes. */
export class Route {
  /** Its base URL. */
  instance: string;
  readonly #base: Constructor;

  constructor(instance: string, base: Constructor = WebSocket) {
    this.instance = instance;
    this.#base = base;
  }

  /** For connect({webSocket}). */
  get socket(): SocketConstructor {
    const lead = (url: string) => this.instance.replace(/^http/, 'ws') + new URL(url).pathname;
    return class extends this.#base {
      constructor(url: string, protocols: string[]) {
        super(lead(url), protocols);
      }
    };
  }

  /** The next of some instances, in turn. */
  moveOn(instances: string[]): string {
    this.instance = instances[(instances.indexOf(this.instance) + 1) % instances.length] ?? this.instance;
    return this.instance;
  }
}
