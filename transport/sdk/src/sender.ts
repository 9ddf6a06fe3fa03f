import { abortable, pause, reasonOf } from './abort';
import { Backoff } from './backoff';
import type { Connection } from './connection';
import { HearthError, isRetryable } from './error';
import type { Body, Draft, Fields, Receipt } from './types';

export interface SendOptions {
  /** What the server knows a repetition by, for ten minutes. Made by the SDK when it is missing. */
  clientId?: string;
  mentions?: string[];
  replyTo?: number;
  ack?: 'accepted' | 'durable' | 'both';
  timeoutMs?: number;
  priority?: 'high' | 'normal' | 'low';
  /** Gives up. The message may have been sent by then. */
  signal?: AbortSignal;
}

/** A message on its way. */
export interface Pending extends Promise<Receipt> {
  /** It is on the message that comes back. */
  readonly clientId: string;
  /** What a page shows until then. */
  readonly message: Draft;
}

export type Target = { group: string } | { to: string };

// The server knows a client_id for ten minutes. An attempt that may have got there is not repeated near their end.
const REMEMBERED_MS = 9 * 60_000;

/** Sends, one after the other in each group: what was refused and is repeated is not overtaken. */
export class Sender {
  readonly #connected: (signal?: AbortSignal) => Promise<Connection>;
  readonly #left: AbortSignal;
  readonly #lanes = new Map<string, Promise<unknown>>();

  /** `left` fires when the client ends. */
  constructor(connected: (signal?: AbortSignal) => Promise<Connection>, left: AbortSignal) {
    this.#connected = connected;
    this.#left = left;
  }

  /** `ids` are those of the group and the user, as far as they are known. */
  send(target: Target, body: Body, options: SendOptions, ids: { group?: string; from?: string }): Pending {
    const clientId = options.clientId ?? newId();
    const fields: Fields<'send'> = {
      ...target,
      body,
      client_id: clientId,
      mentions: options.mentions,
      reply_to: options.replyTo,
      ack: options.ack,
      timeout_ms: options.timeoutMs,
      priority: options.priority,
    };
    const lane = 'to' in target ? `to ${target.to}` : target.group;
    const before = this.#lanes.get(lane) ?? Promise.resolve();
    const sent = before.then(() => this.#deliver(fields, options.signal));
    const settled = sent.then(
      () => {},
      () => {},
    );
    this.#lanes.set(lane, settled);
    settled.then(() => {
      if (this.#lanes.get(lane) === settled) this.#lanes.delete(lane);
    });
    const { mentions, reply_to } = fields;
    // Who gives up while others are before him is told at once; his place in the lane stays.
    return Object.assign(abortable(sent, options.signal), {
      clientId,
      message: { ...ids, time_ms: Date.now(), client_id: clientId, body, mentions, reply_to },
    });
  }

  /** Repeats until the server has said yes, or a no that stays. */
  async #deliver(fields: Fields<'send'>, signal?: AbortSignal): Promise<Receipt> {
    const backoff = new Backoff();
    let uncertainSince: number | undefined;
    for (;;) {
      if (signal?.aborted) throw reasonOf(signal);
      const connection = await this.#connected(signal);
      if (uncertainSince !== undefined && Date.now() - uncertainSince > REMEMBERED_MS) throw uncertain();
      const asked = Date.now();
      try {
        return await abortable(connection.request('send', fields), signal);
      } catch (error) {
        if (!isRetryable(error)) throw error;
        if (error.code === 'unavailable') uncertainSince ??= asked;
        // Without a connection the wait is for the next one.
        if (!connection.over) await pause(error.retryAfterMs ?? backoff.next(), signal, this.#left);
      }
    }
  }
}

function uncertain(): HearthError {
  return new HearthError({
    code: 'uncertain',
    message: 'the message may have been stored, and it is too late to find out by repeating it',
    retryable: false,
  });
}

/** 128 random bits. */
export function newId(): string {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto?.getRandomValues) globalThis.crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() * 256; // React Native without a polyfill
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
}
