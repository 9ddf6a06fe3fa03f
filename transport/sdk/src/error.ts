import type { ErrorCode, ErrorReply } from './types';

/** A request that was not done. */
export class HearthError extends Error {
  /** One of the protocol's codes; or `closed`: the client has ended; or `uncertain`: see Group.send. */
  readonly code: ErrorCode | 'closed' | 'uncertain';
  /** The same request, with the same client_id, may be sent again. */
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(reply: Omit<ErrorReply, 'code'> & { code: ErrorCode | 'closed' | 'uncertain' }) {
    super(reply.message);
    this.name = 'HearthError';
    this.code = reply.code;
    this.retryable = reply.retryable;
    this.retryAfterMs = reply.retry_after_ms;
  }
}

/** Why a client has ended for good. */
export class ClosedError extends HearthError {
  /** The close code, 4500 to 4999; 0 when this side ended it. */
  readonly closeCode: number;

  constructor(closeCode: number, reason: string) {
    super({ code: 'closed', message: reason, retryable: false });
    this.name = 'ClosedError';
    this.closeCode = closeCode;
  }
}

/** What requests get when the server does not answer. The request may have been done. */
export function unanswered(message: string): HearthError {
  return new HearthError({ code: 'unavailable', message, retryable: true });
}

export function isRetryable(error: unknown): error is HearthError & { retryable: true } {
  return error instanceof HearthError && error.retryable;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
