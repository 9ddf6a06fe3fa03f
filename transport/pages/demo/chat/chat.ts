// The page's state: a user, his connection, the rooms he reads, and what the buttons do.

import { batch, computed, signal } from '@preact/signals';
import { connect, type Hearth, type HotGroup, type State } from 'hearth-chat';
import { type DemoConfig, tokenFor } from './door';
import { append, FrameLog, type Line } from './frames';
import { isRoom, isUser, withoutPrefix, withPrefix } from './names';
import { Room } from './room';
import { Route } from './route';
import type { Burst } from './words';

const BURST = 100;
const HOT_ROOMS = 20;

export type Place = 'connecting' | 'online' | 'waiting' | 'dropped' | 'closed';

/** What a first visitor has seen. */
export interface Seen {
  seq: boolean;
  catchUp: boolean;
  heat: boolean;
}

export class Chat {
  readonly user = signal('');
  readonly place = signal<Place>('connecting');
  readonly reason = signal('');
  readonly instance = signal('');
  readonly current = signal('');
  readonly rooms = signal<ReadonlyMap<string, Room>>(new Map());
  readonly hot = signal<HotGroup[]>([]);
  readonly lines = signal<readonly Line[]>([]);
  readonly paused = signal(false);
  readonly burst = signal<Burst | undefined>(undefined);
  readonly slow = signal(false);
  readonly visible = signal(!document.hidden);
  readonly seen = signal<Seen>({ seq: false, catchUp: false, heat: false });
  /** What of the address was not followed, and why. */
  readonly refused = signal<readonly string[]>([]);
  readonly room = computed(() => this.rooms.value.get(this.current.value));
  readonly #log = new FrameLog();
  readonly #route: Route;
  #hearth: Hearth | undefined;

  constructor(
    readonly config: DemoConfig,
    instance: string,
  ) {
    this.#route = new Route(instance);
  }

  /** The user's client; there is one from the first become on. */
  get hearth(): Hearth {
    return this.#hearth!;
  }

  name(user: string): string {
    return withoutPrefix(this.config.user_prefix, user);
  }

  /** The user of a name, if he has been heard of in the room. */
  known(name: string): string | undefined {
    const users = new Set<string>();
    for (const entry of this.room.value?.entries.value ?? [])
      if (entry.kind === 'message') users.add(entry.message.from);
    return [name, withPrefix(this.config.user_prefix, name)].find((user) => users.has(user));
  }

  /** Another user is another connection with another token. */
  become(name: string): void {
    const user = withPrefix(this.config.user_prefix, name);
    if (!isUser(user)) return;
    for (const room of this.rooms.value.values()) room.end();
    this.#hearth?.close();
    sessionStorage.setItem('hearth.user', name);
    batch(() => {
      this.user.value = user;
      this.rooms.value = new Map();
      this.place.value = 'connecting';
    });
    this.#connect(user);
    if (this.current.value) this.enter(this.current.value);
  }

  #connect(user: string): void {
    const hearth = connect({
      url: location.origin,
      user,
      token: () => tokenFor(user),
      webSocket: this.#route.socket,
    });
    this.#hearth = hearth;
    this.#add([this.#log.opened(this.#route.instance)]);
    hearth.on('state', (state) => {
      if (hearth === this.#hearth) this.#became(state);
    });
    hearth.on('frame', ({ direction, text }) => this.#frame(direction, text));
    hearth.on('welcome', ({ instance }) => {
      this.instance.value = instance;
    });
    hearth.watchHot(({ groups }) => this.#ranked(groups), { limit: HOT_ROOMS });
    void this.#readMine(hearth);
  }

  /** The rooms that the user spoke in earlier are read, too: for their badges. */
  async #readMine(hearth: Hearth): Promise<void> {
    try {
      const mine = await hearth.conversations();
      if (hearth !== this.#hearth) return;
      for (const { group, type } of mine.slice(0, HOT_ROOMS)) if (type === 'room') this.#read(group);
    } catch {
      // The badges come with the rooms that are entered.
    }
  }

  #became({ state, reason = '', retryInMs }: State): void {
    if (this.place.value === 'online') for (const room of this.rooms.value.values()) room.lost();
    if (state === 'connecting') this.#add([this.#log.opened(this.#route.instance)]);
    this.place.value = state === 'waiting' && retryInMs === Number.POSITIVE_INFINITY ? 'dropped' : state;
    this.reason.value = reason;
  }

  enter(id: string): void {
    if (!isRoom(id)) return;
    if (this.current.value) this.refused.value = [];
    this.room.value?.watch(false);
    this.current.value = id;
    history.replaceState(null, '', `?room=${encodeURIComponent(id)}`);
    document.title = `${id} · hearth demo`;
    this.#read(id).watch(this.visible.value);
  }

  /** The page came to the front, or went away. */
  looked(visible: boolean): void {
    this.visible.value = visible;
    this.room.value?.watch(visible);
  }

  #read(id: string): Room {
    let room = this.rooms.value.get(id);
    if (!room) {
      room = new Room(id, this.user.value, this.instance.value, this.hearth, () => this.saw('catchUp'));
      room.slow(this.slow.value);
      this.rooms.value = new Map(this.rooms.value).set(id, room);
    }
    return room;
  }

  #ranked(groups: HotGroup[]): void {
    const before = new Map(this.hot.value.map(({ group, rank }) => [group, rank]));
    if (groups.some(({ group, rank }) => (before.get(group) ?? rank) !== rank)) this.saw('heat');
    this.hot.value = groups;
  }

  saw(what: keyof Seen): void {
    if (!this.seen.value[what]) this.seen.value = { ...this.seen.value, [what]: true };
  }

  /** Cuts the connection, and leaves it so. */
  drop(): void {
    this.hearth.drop(Number.POSITIVE_INFINITY);
  }

  reconnect(): void {
    this.hearth.reconnect();
  }

  /** Whether the page knows of another instance: behind a load balancer it does not. */
  get elsewhere(): boolean {
    return this.config.instances.length > 1;
  }

  /** The other instances, in turn: which one it is does not matter, and that is what there is to see. */
  otherInstance(): void {
    sessionStorage.setItem('hearth.instance', this.#route.moveOn(this.config.instances));
    if (this.place.value === 'online') this.hearth.drop();
    else this.hearth.reconnect();
  }

  readSlowly(slow: boolean): void {
    this.slow.value = slow;
    for (const room of this.rooms.value.values()) room.slow(slow);
  }

  sendBurst(): void {
    const room = this.room.value;
    if (!room || (this.burst.value && !this.burst.value.over)) return;
    this.burst.value = { sent: BURST, kept: 0, refused: 0, over: false };
    let answered = 0;
    for (let n = 1; n <= BURST; n++) {
      void room.send([{ type: 'text', text: `burst ${n} of ${BURST}` }]).then((seq) => {
        answered++;
        const burst = this.burst.value!;
        this.burst.value = { ...burst, kept: burst.kept + (seq === undefined ? 0 : 1), over: answered === BURST };
      });
    }
  }

  clearFrames(): void {
    this.lines.value = [];
  }

  #frame(direction: 'in' | 'out', text: string): void {
    const lines = this.#log.frame(direction, text);
    const burst = this.burst.value;
    const refused = lines.filter(({ label }) => label === 'send rate_limited').length;
    if (burst && !burst.over && refused > 0) this.burst.value = { ...burst, refused: burst.refused + refused };
    this.#add(lines);
  }

  #add(lines: Line[]): void {
    if (!this.paused.value) this.lines.value = append(this.lines.value, lines);
  }
}
