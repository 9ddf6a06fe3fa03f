// What the demo's server gives away: its configuration, tokens, and the few things that go over HTTP.

import { HearthError } from 'hearth-chat';

export interface DemoConfig {
  /** Base URLs of the instances. */
  instances: string[];
  /** Offered also while they are not hot. */
  rooms: string[];
  window_ms: number;
  /** What the users' ids begin with. */
  user_prefix: string;
}

export async function loadConfig(): Promise<DemoConfig> {
  const response = await fetch('/demo/config.json');
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  const config = (await response.json()) as DemoConfig;
  return { ...config, instances: config.instances.length > 0 ? config.instances : [location.origin] };
}

/** A user's way over HTTP. It always goes to the server that the page came from: any instance will do. */
export class Door {
  #token = '';
  readonly #user: string;

  constructor(user: string) {
    this.#user = user;
  }

  /** A new token, for connect({token}). */
  async token(): Promise<string> {
    const response = await fetch('/demo/token', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ user: this.#user, name: this.#user }),
    });
    this.#token = ((await answer(response)) as { token: string }).token;
    return this.#token;
  }

  async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(path, {
      method,
      headers: {
        Authorization: `Bearer ${this.#token}`,
        ...(body !== undefined && { 'Content-Type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return (await answer(response)) as T;
  }
}

async function answer(response: Response): Promise<unknown> {
  const said = await response.json().catch(() => ({}));
  if (response.ok) return said;
  const { code = 'internal', detail, retryable = response.status >= 500 } = said as Record<string, never>;
  throw new HearthError({ code, message: detail ?? `the server answers ${response.status}`, retryable });
}
