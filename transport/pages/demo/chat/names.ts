// Who a window is, and which room it shows: a random friendly name, unless the address says otherwise.

const MANNERS = 'brave calm clever cosy eager gentle happy jolly lucky quick sunny witty'.split(' ');
const ANIMALS = 'badger crane fox hare heron lynx marten otter owl robin seal wren'.split(' ');
const ID = /^[A-Za-z0-9_.@#-]{1,64}$/;

const ID_FORM = 'letters, digits and _ . @ # - only, 64 at most';

export function isUser(id: string): boolean {
  return ID.test(id) && id !== 'system';
}

/** A room of dots has no address: browsers take /v1/groups/.. for /v1/. */
export function isRoom(id: string): boolean {
  return ID.test(id) && !['hot', '.', '..'].includes(id);
}

/** Why a name cannot be a user's; nothing where it can. */
export function whyNoUser(prefix: string, name: string): string {
  if (name === '') return 'a user needs a name';
  if (isUser(withPrefix(prefix, name))) return '';
  return `“${name}” is no user’s name: ${name === 'system' ? 'it is reserved' : ID_FORM}`;
}

/** Why a text cannot be a room's id; nothing where it can. */
export function whyNoRoom(id: string): string {
  if (id === '') return 'a room needs an id';
  if (isRoom(id)) return '';
  const why = id === 'hot' ? 'it is reserved' : 'dots alone lead elsewhere in an address';
  return `“${id}” is no room id: ${ID.test(id) ? why : ID_FORM}`;
}

/** A name such as sunny-otter-42; `random` is as Math.random. */
export function friendlyName(random: () => number = Math.random): string {
  const pick = (words: string[]) => words[Math.floor(random() * words.length)]!;
  return `${pick(MANNERS)}-${pick(ANIMALS)}-${10 + Math.floor(random() * 90)}`;
}

/** The id of a name: in `serve` the demo's users all begin with the same prefix, which nobody wants to read. */
export function withPrefix(prefix: string, name: string): string {
  return name.startsWith(prefix) ? name : prefix + name;
}

export function withoutPrefix(prefix: string, id: string): string {
  return id.startsWith(prefix) ? id.slice(prefix.length) : id;
}

export interface Address {
  user?: string;
  room?: string;
  /** Why what it says is not followed. */
  refused: string[];
}

/** What ?user=ann&room=tea says. */
export function readAddress(search: string, prefix = ''): Address {
  const query = new URLSearchParams(search);
  const user = query.get('user');
  const room = query.get('room');
  const noUser = user === null ? '' : whyNoUser(prefix, user);
  const noRoom = room === null ? '' : whyNoRoom(room);
  const address: Address = { refused: [noUser, noRoom].filter(Boolean) };
  if (user !== null && !noUser) address.user = user;
  if (room !== null && !noRoom) address.room = room;
  return address;
}

/** A hue for a name, the same in every window. */
export function hueOf(name: string): number {
  let hash = 0;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)!) % 360;
  return hash;
}

/** One or two letters that stand for a name. */
export function initials(name: string): string {
  const words = name.split(/[^A-Za-z0-9]+/).filter((word) => word !== '' && word !== 'bot');
  return (words[0]?.[0] ?? '?').toUpperCase() + (/^[a-z]/i.test(words[1] ?? '') ? words[1]![0]!.toUpperCase() : '');
}

/** The users that a text mentions with @; only those of `known` count. */
export function mentionsOf(text: string, known: (name: string) => string | undefined): string[] {
  const found = new Set<string>();
  for (const [, name] of text.matchAll(/@([A-Za-z0-9_.#-]{1,64})/g)) {
    const user = known(name!) ?? known(name!.replace(/[.]+$/, ''));
    if (user !== undefined) found.add(user);
  }
  return [...found];
}
