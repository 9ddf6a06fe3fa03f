import { abortable } from './abort';
import { HearthError, messageOf, unanswered } from './error';
import type { Link } from './link';
import type { ErrorCode, ErrorReply } from './types';

const ANSWER_MS = 30_000;

/** The HTTP routes, as the user. */
export class Http {
  readonly #link: Link;

  constructor(link: Link) {
    this.#link = link;
  }

  get left(): AbortSignal {
    return this.#link.left;
  }

  /** Asks once; only a token that is refused is replaced. */
  async request(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<unknown> {
    let token = await this.#token(undefined, signal);
    for (let first = true; ; first = false) {
      const headers: Record<string, string> = { Authorization: `Bearer ${token}` };
      if (body !== undefined) headers['Content-Type'] = 'application/json';
      const init = { method, headers, body: JSON.stringify(body) };
      const { status, answer } = await this.#fetch(this.absolute(`/v1${path}`), init, ANSWER_MS, signal);
      if (status < 400) return answer;
      if (status !== 401 || !first) throw problem(status, answer);
      token = await this.#token(token, signal);
    }
  }

  /** The app's no stays; whatever else keeps it from giving a token is no answer. */
  async #token(stale: string | undefined, signal?: AbortSignal): Promise<string> {
    try {
      return await abortable(this.#link.token(stale), signal);
    } catch (error) {
      if (signal?.aborted || error instanceof HearthError) throw error;
      throw this.left.aborted ? closed() : unanswered(`no token: ${messageOf(error)}`);
    }
  }

  /** Sends bytes to a URL that needs no token. */
  async put(url: string, headers: Record<string, string>, bytes: BodyInit, signal?: AbortSignal): Promise<void> {
    const init = { method: 'PUT', headers, body: bytes };
    const { status, answer } = await this.#fetch(this.absolute(url), init, 0, signal);
    if (status >= 400) throw problem(status, answer);
  }

  /** The server tells its own URLs as paths. */
  absolute(url: string): string {
    return url.startsWith('/') ? this.#link.url + url : url;
  }

  async #fetch(url: string, init: RequestInit, timeoutMs: number, signal?: AbortSignal) {
    const over = new AbortController();
    const abort = () => over.abort();
    const { left } = this.#link;
    if (left.aborted) throw closed();
    const timer = timeoutMs > 0 ? setTimeout(abort, timeoutMs) : undefined;
    left.addEventListener('abort', abort);
    signal?.addEventListener('abort', abort);
    try {
      const answered = fetch(url, { ...init, signal: over.signal }).then(async (response) => ({
        status: response.status,
        answer: parsed(await response.text()),
      }));
      return await abortable(answered, signal);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw left.aborted ? closed() : unanswered('no answer from the server');
    } finally {
      clearTimeout(timer);
      left.removeEventListener('abort', abort);
      signal?.removeEventListener('abort', abort);
    }
  }
}

function closed(): HearthError {
  return new HearthError({ code: 'closed', message: 'the client was closed', retryable: false });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The server's error, or what the status says when something between answered. */
function problem(status: number, answer: unknown): HearthError {
  const told = answer as (Partial<ErrorReply> & { title?: string; detail?: string }) | undefined;
  const code: ErrorCode = told?.code ?? codes[status] ?? (status >= 500 ? 'unavailable' : 'bad_request');
  return new HearthError({
    code,
    message: told?.detail ?? told?.title ?? `HTTP ${status}`,
    retryable: told?.retryable ?? (status === 429 || status >= 500),
    retry_after_ms: told?.retry_after_ms,
  });
}

const codes: Record<number, ErrorCode> = {
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not_found',
  413: 'too_large',
  429: 'rate_limited',
};
