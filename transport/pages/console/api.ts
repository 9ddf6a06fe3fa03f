// Requests to the console's API. The cookie goes along by itself.

import { session } from './session';
import type { Session } from './types';

export const base = '/console/api';

// Retrying dead letters may take half a minute.
const patienceMS = { GET: 10_000, POST: 40_000 };

/** What the server refused, or that it did not answer (code "unreachable"). The message may be shown. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** What was asked for does not exist, or no longer. */
export function isGone(e: ApiError): boolean {
  return e.status === 404 || e.status === 410;
}

export function get<T>(path: string): Promise<T> {
  return call<T>('GET', path);
}

/** Asks for a stream only to learn whether it is refused: an EventSource does not tell why. */
export async function probe(path: string): Promise<void> {
  const stop = new AbortController();
  let response: Response;
  try {
    response = await fetch(base + path, { method: 'GET', signal: stop.signal });
  } catch {
    throw new ApiError(0, 'unreachable', 'hearth does not answer.');
  }
  if (!response.ok) throw await refusal(response, path);
  stop.abort();
}

/** Sends JSON, also when there is nothing to say: the server takes nothing else. */
export function post<T>(path: string, body: unknown = {}): Promise<T> {
  return call<T>('POST', path, body);
}

export async function login(key: string): Promise<void> {
  await post('/login', { key });
  session.value = await get<Session>('/session');
}

export async function logout(): Promise<void> {
  await post('/logout');
  session.value = null;
}

/** An id as a part of a path. Dots alone, also as %2e, are folders to browsers: they are encoded twice, and the server knows. */
export function segment(id: string): string {
  return /^\.{1,2}$/.test(id) ? id.replaceAll('.', '%252e') : encodeURIComponent(id);
}

/** The words of any failure. */
export function says(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

async function call<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(patienceMS[method]) };
  if (body !== undefined) {
    init.headers = { 'Content-Type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(base + path, init);
  } catch {
    throw new ApiError(0, 'unreachable', 'hearth does not answer.');
  }
  if (!response.ok) throw await refusal(response, path);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch {
    throw new ApiError(0, 'unreachable', 'The answer was cut off.');
  }
}

/** Reads an error, and asks for the key again when the session has ended. */
async function refusal(response: Response, path: string): Promise<ApiError> {
  if (response.status === 401 && path !== '/login') session.value = null;
  const body = await response.json().catch(() => ({}));
  const error = body.error ?? body; // problem+json has the fields at the top
  const message = error.message ?? error.detail ?? error.title ?? `hearth answered ${response.status}.`;
  return new ApiError(response.status, error.code ?? 'internal', message);
}
