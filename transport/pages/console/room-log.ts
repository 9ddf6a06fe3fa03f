// The messages of one room as they come: by seq, each once, with what is missing told between them.

import type { Hole, Message } from 'hearth-chat';
import type { RoomPage } from './types';

export interface RoomLog {
  messages: readonly Message[];
  holes: readonly Hole[];
}

export type Row =
  | { kind: 'message'; message: Message }
  /** Without a reason nobody explained it, which should not happen. */
  | { kind: 'hole'; from: number; to: number; reason?: Hole['reason'] };

const kept = 500;

export const empty: RoomLog = { messages: [], holes: [] };

/** Adds a page. A message that is there is replaced: it may have been recalled. */
export function merge(log: RoomLog, page: Pick<RoomPage, 'messages' | 'holes' | 'recalls'>): RoomLog {
  const merged = added(log, page);
  return (page.recalls ?? []).reduce((l, r) => recall(l, [r.seq], r.recalled_by, r.recalled_ms), merged);
}

function added(log: RoomLog, page: Pick<RoomPage, 'messages' | 'holes'>): RoomLog {
  const bySeq = new Map(log.messages.map((m) => [m.seq, m]));
  for (const m of page.messages ?? []) bySeq.set(m.seq, m);
  const messages = [...bySeq.values()].sort((a, b) => a.seq - b.seq);
  const holes = join([...log.holes, ...(page.holes ?? [])]);
  if (messages.length <= kept) return { messages, holes };
  const shown = messages.slice(-kept);
  return { messages: shown, holes: holes.filter((h) => h.to > shown[0]!.seq) };
}

/** What is left of recalled messages. */
export function recall(log: RoomLog, seqs: readonly number[], by: string, time_ms: number): RoomLog {
  const messages = log.messages.map((m): Message => {
    if (!seqs.includes(m.seq) || !m.body) return m;
    const { body: _, ...rest } = m;
    return { ...rest, recalled_ms: time_ms, recalled_by: by } as Message;
  });
  return { ...log, messages };
}

/** The last seq that need not be asked for again. */
export function end(log: RoomLog): number | undefined {
  const last = Math.max(log.messages.at(-1)?.seq ?? 0, log.holes.at(-1)?.to ?? 0);
  return last || undefined;
}

/** Messages and holes in the order of their seqs. Where a message came back, its hole is split. */
export function rows(log: RoomLog): Row[] {
  const first = log.messages[0]?.seq ?? Number.POSITIVE_INFINITY;
  const out: Row[] = log.holes
    .filter((h) => h.from < first)
    .map((h) => ({ ...hole(h), to: Math.min(h.to, first - 1) }));
  let next = first;
  for (const message of log.messages) {
    if (message.seq > next) out.push(...missing(log.holes, next, message.seq - 1));
    out.push({ kind: 'message', message });
    next = message.seq + 1;
  }
  if (log.messages.length) {
    for (const h of log.holes) if (h.to >= next) out.push({ ...hole(h), from: Math.max(h.from, next) });
  }
  return out;
}

/** The seqs of a gap: those that holes explain, and the rest. */
function missing(holes: readonly Hole[], from: number, to: number): Row[] {
  const out: Row[] = [];
  let next = from;
  for (const h of holes) {
    if (h.to < next || h.from > to) continue;
    if (h.from > next) out.push({ kind: 'hole', from: next, to: h.from - 1 });
    out.push({ ...hole(h), from: Math.max(h.from, next), to: Math.min(h.to, to) });
    next = h.to + 1;
  }
  if (next <= to) out.push({ kind: 'hole', from: next, to });
  return out;
}

/** Sorts holes and joins those that touch: a page clips them. */
function join(holes: Hole[]): Hole[] {
  const out: Hole[] = [];
  for (const h of holes.sort((a, b) => a.from - b.from || a.to - b.to)) {
    const before = out.at(-1);
    if (before && before.reason === h.reason && h.from <= before.to + 1) {
      out[out.length - 1] = { ...before, to: Math.max(before.to, h.to) };
    } else {
      out.push(h);
    }
  }
  return out;
}

function hole(h: Hole): Extract<Row, { kind: 'hole' }> {
  return h.reason
    ? { kind: 'hole', from: h.from, to: h.to, reason: h.reason }
    : { kind: 'hole', from: h.from, to: h.to };
}
