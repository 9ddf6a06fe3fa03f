// What a room shows, in the order of seq: messages, holes, and the page's own notes between them.

import type { Hole, Message } from 'hearth-chat';

export interface MessageEntry {
  kind: 'message';
  at: number;
  message: Message;
  /** It came by catching up. */
  missed: boolean;
}

export interface HoleEntry {
  kind: 'hole';
  at: number;
  hole: Hole;
}

export interface NoteEntry {
  kind: 'note';
  at: number;
  key: number;
  text: string;
}

export type Entry = MessageEntry | HoleEntry | NoteEntry;

export const MAX_ENTRIES = 1000;

/** Puts entries in their places; what is there already stays as it is. The oldest give way. */
export function merge(entries: readonly Entry[], more: Entry[], most = MAX_ENTRIES): Entry[] {
  const merged = [...entries];
  for (const entry of more) insert(merged, entry);
  return merged.slice(-most);
}

function insert(entries: Entry[], entry: Entry): void {
  let place = entries.length;
  while (place > 0 && entries[place - 1]!.at > entry.at) place--;
  const before = entries[place - 1];
  if (before?.at === entry.at && before.kind === entry.kind && entry.kind !== 'note') return;
  entries.splice(place, 0, entry);
}

export function entryOf(message: Message, missed = false): MessageEntry {
  return { kind: 'message', at: message.seq, message, missed };
}

export function entryOfHole(hole: Hole): HoleEntry {
  return { kind: 'hole', at: hole.from, hole };
}

/** A note behind a seq. */
export function noteBehind(seq: number, key: number, text: string): NoteEntry {
  return { kind: 'note', at: seq + 0.5, key, text };
}

/** Gives a hole the reason that its push had not. */
export function explain(entries: readonly Entry[], known: readonly Hole[]): Entry[] {
  const reasonOf = (hole: Hole) => known.find(({ from, to }) => from <= hole.from && to >= hole.to)?.reason;
  return entries.map((entry) => {
    if (entry.kind !== 'hole' || entry.hole.reason) return entry;
    const reason = reasonOf(entry.hole);
    return reason ? { ...entry, hole: { ...entry.hole, reason } } : entry;
  });
}

/** Leaves of a message what the server leaves of it: everything but the body. */
export function recall(entries: readonly Entry[], seq: number, by: string, timeMs: number): Entry[] {
  return entries.map((entry) => {
    if (entry.kind !== 'message' || entry.message.seq !== seq || entry.message.recalled_ms !== undefined) return entry;
    const { body: _, ...rest } = entry.message;
    return { ...entry, message: { ...rest, recalled_ms: timeMs, recalled_by: by } as Message };
  });
}

/** The lowest seq that is accounted for; what is before it has to be asked for. */
export function lowest(entries: readonly Entry[]): number | undefined {
  return entries.find((entry) => entry.kind !== 'note')?.at;
}

/** Whether nothing from the first entry to the last is unexplained: what the demo promises. */
export function isGapless(entries: readonly Entry[]): boolean {
  let next: number | undefined;
  for (const entry of entries) {
    if (entry.kind === 'note') continue;
    if (next !== undefined && entry.at !== next) return false;
    next = entry.kind === 'hole' ? entry.hole.to + 1 : entry.at + 1;
  }
  return true;
}

/** The word for a message's content: of its first element, or recalled. */
export function kindOf(message: Message): string {
  if (message.body === undefined) return 'recalled';
  return message.body[0]?.type ?? 'text';
}
