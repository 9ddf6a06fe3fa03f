// The sentences in which the page explains itself.

import type { Hole } from 'hearth-chat';

export function people(n: number): string {
  return n === 1 ? '1 person' : `${n} people`;
}

export function messages(n: number): string {
  return n === 1 ? '1 message' : `${n.toLocaleString('en')} messages`;
}

export function minutes(ms: number): string {
  const n = Math.round(ms / 60_000);
  return n === 1 ? 'minute' : `${n} minutes`;
}

/** "3 people spoke in the last 5 minutes" */
export function heatText(heat: number, windowMs: number): string {
  return `${heat === 0 ? 'nobody' : people(heat)} spoke in the last ${minutes(windowMs)}`;
}

export function seqs(from: number, to: number): string {
  return from === to ? `#${from}` : `#${from}…#${to}`;
}

export function howLong(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 60) return seconds === 1 ? '1 second' : `${seconds} seconds`;
  const n = Math.round(seconds / 60);
  return n === 1 ? '1 minute' : `${n} minutes`;
}

export interface Absence {
  /** The last seq before it. */
  after: number;
  /** How long it took. */
  ms: number;
  /** The room's highest seq behind it. */
  maxSeq: number;
  /** Seqs between that are holes. */
  lost: number;
  /** The instance, if it is another one now. */
  movedTo?: string | undefined;
}

/** What one subscribe brought after a time away. */
export function catchUpText({ after, ms, maxSeq, lost, movedTo }: Absence): string {
  const away = movedTo ? `You are at ${movedTo} now, with the same last seq.` : `You were away for ${howLong(ms)}.`;
  if (maxSeq <= after) return `${away} subscribe after_seq ${after} brought nothing: nobody spoke.`;
  const brought = `subscribe after_seq ${after} brought ${seqs(after + 1, maxSeq)}`;
  if (lost > 0) return `${away} ${brought}; ${messages(maxSeq - after - lost)}, and the hole is explained.`;
  return `${away} ${brought}: nothing missing.`;
}

export function holeText({ from, to, reason }: Hole): string {
  const n = to - from + 1;
  const range = seqs(from, to);
  const what = n === 1 ? `${range} is no message` : `${range}: ${n.toLocaleString('en')} seqs without a message`;
  switch (reason) {
    case 'lost':
      if (n === 1) return `${what}: it was lost, and its number is not given again.`;
      return `${what}. Redis lost its numbers: hearth skips ahead rather than give a seq twice.`;
    case 'expired':
      return `${what}. They grew old and were deleted (retention).`;
    default:
      return `${what}.`;
  }
}

/** How a burst goes: `refused` counts the server's “not so fast”. */
export interface Burst {
  sent: number;
  kept: number;
  refused: number;
  over: boolean;
}

const RATE = 'a user may say only so much a second, so that nobody drowns a room';

/** What a burst came to, and why not all of it was kept. */
export function burstText({ sent, kept, refused, over }: Burst, weighed: boolean): string {
  const so = `Burst: ${kept} of ${sent} kept`;
  if (!over && refused === 0) return `${so}.`;
  if (!over) return `${so}. The server said “rate_limited” ${refused} times: ${RATE}. The SDK waits and sends again.`;
  const heat = weighed ? '' : ' The heat rose by one person at most: you.';
  if (kept === sent) return `${so}, each once.${heat}`;
  return `${so}, each once; ${sent - kept} refused: ${RATE}.${heat}`;
}

/** Who has read a message, in a few words. */
export function receiptText(readers: string[]): string {
  if (readers.length === 0) return 'kept';
  if (readers.length <= 2) return `read by ${readers.join(' and ')}`;
  return `read by ${readers.length}`;
}

export function typingText(users: string[]): string {
  if (users.length === 0) return '';
  if (users.length === 1) return `${users[0]} is typing …`;
  if (users.length === 2) return `${users[0]} and ${users[1]} are typing …`;
  return `${users.length} people are typing …`;
}
