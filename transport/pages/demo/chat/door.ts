// What the demo's server gives away: its configuration, and tokens.

import { HearthError } from 'hearth-chat';

export interface DemoConfig {
  /** Base URLs of the instances. */
  instances: string[];
  /** Offered also while they are not hot. */
  rooms: string[];
  window_ms: number;
  /** Heat is not the number of people who spoke, but weighed of that and more. */
  weighed: boolean;
  /** What the users' ids begin with. */
  user_prefix: string;
}

export async function loadConfig(): Promise<DemoConfig> {
  const response = await fetch('/demo/config.json');
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  const config = (await response.json()) as DemoConfig;
  return { ...config, instances: config.instances.length > 0 ? config.instances : [location.origin] };
}

/** A new token of a user. In an app its own back end gives it, to who has logged in there. */
export async function tokenFor(user: string): Promise<string> {
  const response = await fetch('/demo/token', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ user, name: user }),
  });
  const answer = await response.json();
  if (response.ok) return answer.token;
  throw new HearthError({ code: answer.code, message: answer.detail, retryable: answer.retryable });
}
