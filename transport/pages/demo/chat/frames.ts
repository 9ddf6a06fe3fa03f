// The frames between the page and the server, an object a line, with what they mean.

export type Direction = 'in' | 'out';
export type Tone = 'request' | 'reply' | 'event' | 'error' | 'note';

export interface Line {
  key: number;
  direction: Direction | 'note';
  text: string;
  label: string;
  tone: Tone;
  group?: string | undefined;
  /** The seq or seqs that it is about, as shown. */
  seq?: string | undefined;
  meaning: string;
  /** Where seq and catching up are to be seen: the meaning is shown unasked. */
  lesson?: boolean;
}

type Json = Record<string, unknown>;

const MAX_LINES = 300;

/** Turns frames into lines. Replies are told by what was asked, so it remembers the requests that have none yet. */
export class FrameLog {
  #key = 0;
  #asked = new Map<number, Json>();

  /** A new connection counts its ids anew. */
  opened(instance: string): Line {
    this.#asked.clear();
    return this.note(`a new connection, to ${instance}`);
  }

  note(text: string): Line {
    return { key: ++this.#key, direction: 'note', text, label: '', tone: 'note', meaning: text };
  }

  /** The objects of a frame. */
  frame(direction: Direction, frame: string): Line[] {
    return frame
      .split('\n')
      .filter((text) => text.trim() !== '')
      .map((text) => this.#line(direction, text));
  }

  #line(direction: Direction, text: string): Line {
    const object = parse(text);
    const key = ++this.#key;
    if (direction === 'out') {
      if (typeof object.id === 'number') this.#asked.set(object.id, object);
      return { key, direction, text, ...aboutRequest(object) };
    }
    if (typeof object.event === 'string') return { key, direction, text, ...aboutEvent(object) };
    const asked = typeof object.id === 'number' ? this.#asked.get(object.id) : undefined;
    if (typeof object.id === 'number') this.#asked.delete(object.id);
    return { key, direction, text, ...aboutReply(object, asked) };
  }
}

/** Keeps the newest lines. */
export function append(lines: readonly Line[], more: Line[]): Line[] {
  return [...lines, ...more].slice(-MAX_LINES);
}

/** Whether a line is about a room, or about the connection itself; the ranking and what is unread are of all rooms. */
export function concerns({ group, label }: Line, room: string): boolean {
  if (group !== undefined) return group === room;
  return !['hot', 'ok hot', 'sync', 'ok sync'].includes(label);
}

type About = Pick<Line, 'label' | 'tone' | 'group' | 'seq' | 'meaning' | 'lesson'>;

function aboutRequest(object: Json): About {
  const { op, group, seq, after_seq: after, before_seq: before } = object;
  const about = { label: text(op) ?? '?', tone: 'request' as const, group: text(group) };
  switch (op) {
    case 'subscribe':
      if (after === undefined) return { ...about, meaning: `Push me what comes in ${group} from now on.` };
      return {
        ...about,
        seq: `>${after}`,
        lesson: true,
        meaning: `I have everything of ${group} up to #${after}: give me what is behind it, and then what comes.`,
      };
    case 'unsubscribe':
      return { ...about, meaning: `No more of ${group}, please.` };
    case 'send':
      return { ...about, meaning: 'A message. With its client_id it may be repeated without being stored twice.' };
    case 'pull':
      return {
        ...about,
        seq: before === undefined ? undefined : `<${before}`,
        meaning: before === undefined ? 'The newest page, please.' : `A page of what is before #${before}, please.`,
      };
    case 'read':
      return { ...about, seq: mark(seq), meaning: `I have read ${group} up to #${seq}.` };
    case 'recall':
      return { ...about, seq: mark(seq), meaning: `Take #${seq} back.` };
    case 'signal':
      return { ...about, meaning: `Told to who is here now, never stored: it has no seq (${object.kind}).` };
    case 'sync':
      return { ...about, meaning: 'How far are my rooms, and how much of them have I not read?' };
    case 'hot':
      return { ...about, meaning: 'Tell me the ranking whenever it changes.' };
    case 'ping':
      return { ...about, meaning: 'Are you still there?' };
    case 'refresh':
      return { ...about, meaning: 'A newer token for this connection.' };
    default:
      return { ...about, meaning: 'A request.' };
  }
}

function aboutEvent(object: Json): About {
  const { event, group, seq } = object;
  const about = { label: text(event) ?? '?', tone: 'event' as const, group: text(group), seq: mark(seq) };
  switch (event) {
    case 'welcome':
      return { ...about, meaning: `You are ${object.user}, at the instance ${object.instance}.` };
    case 'message':
      return { ...about, meaning: `Message #${seq} of ${group}. Whoever has it waits for #${Number(seq) + 1}.` };
    case 'read':
      return { ...about, meaning: `${object.user} has read ${group} up to #${seq}.` };
    case 'recall':
      return { ...about, meaning: `${object.by} took #${seq} back. The number stays, the words go.` };
    case 'signal':
      return { ...about, meaning: `${object.from}: ${object.kind}. Not stored, hence no seq.` };
    case 'hot':
      return { ...about, meaning: 'The ranking has changed.' };
    case 'group':
      return { ...about, meaning: `${object.user ?? object.by ?? 'Somebody'}: ${object.change}.` };
    case 'durable':
      return { ...about, meaning: `#${seq} is committed in MySQL.` };
    case 'resync':
      return {
        ...about,
        tone: 'error',
        meaning: 'You were too slow: subscribe again from your last seq. Nothing is lost.',
      };
    case 'goodbye':
      return { ...about, tone: 'error', meaning: `The server closes (${object.code}): ${object.reason}.` };
    default:
      return { ...about, meaning: 'An event.' };
  }
}

function aboutReply(object: Json, asked: Json | undefined): About {
  const op = text(asked?.op) ?? '';
  const group = text(asked?.group);
  const { error, ok } = object as { error?: Json; ok?: Json };
  if (error) {
    const again = error.retry_after_ms === undefined ? '' : `, in ${error.retry_after_ms} ms`;
    const meaning = `${error.message}${error.retryable ? ` – try again${again}, with the same client_id` : ''}.`;
    return { label: `${op} ${error.code}`.trim(), tone: 'error', group, meaning };
  }
  const about = { label: `ok ${op}`.trim(), tone: 'reply' as const, group };
  switch (op) {
    case 'send':
      return {
        ...about,
        seq: mark(ok?.seq),
        meaning: `Kept as #${ok?.seq}${ok?.duplicate ? ', the first time already' : ''}.`,
      };
    case 'subscribe':
      return { ...about, lesson: true, ...aboutPage(ok ?? {}, true) };
    case 'pull':
      return { ...about, ...aboutPage(ok ?? {}, false) };
    case 'read':
      return { ...about, seq: mark(ok?.read_seq), meaning: `${ok?.unread} unread.` };
    default:
      return { ...about, meaning: 'Done.' };
  }
}

function aboutPage(page: Json, live: boolean): { seq?: string | undefined; meaning: string } {
  const list = Array.isArray(page.messages) ? (page.messages as Json[]) : [];
  const holes = Array.isArray(page.holes) ? page.holes.length : 0;
  const rest = page.more ? ' There is more.' : live ? ' From here on they are pushed.' : '';
  if (list.length === 0) {
    return { seq: mark(page.max_seq), meaning: `Nothing new: the room is at #${page.max_seq}.${rest}` };
  }
  const [first, last] = [list[0]?.seq, list.at(-1)?.seq];
  const range = first === last ? `#${first}` : `#${first}…${last}`;
  const missing = holes > 0 ? 'and the holes are told' : 'in order, none missing';
  return { seq: range, meaning: `${range}, ${missing}.${rest}` };
}

function mark(seq: unknown): string | undefined {
  return typeof seq === 'number' ? `#${seq}` : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function parse(text: string): Json {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Json) : {};
  } catch {
    return {};
  }
}

/** The object, spread out; what is no JSON stays as it is. */
export function spread(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
