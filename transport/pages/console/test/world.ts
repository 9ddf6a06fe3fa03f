// A small made-up hearth that answers the console's API with numbers that move: for tests, and to work on the page
// without a server (npm run mock).

import type { Message } from 'hearth-chat';
import type * as api from '../types';

export interface Answer {
  status: number;
  body?: unknown;
}

interface Room {
  id: string;
  name: string;
  perSecond: number;
  messages: Message[];
  holes: { from: number; to: number; reason: 'lost' | 'expired' }[];
  seq: number;
  heat: number;
  online: number;
}

export const adminKey = 'admin-key';

const people = ['ann', 'bob', 'cai', 'dee', 'eve', 'fay', 'gus', 'hal'];
const lines = [
  'good morning, everybody',
  'who is in for lunch?',
  'the kettle is on',
  'a longer one: the train was late again, and so I had the time to read the whole of the timetable, twice',
  'yes!',
  'look at this',
  'see you tomorrow',
];
const names = ['Tea', 'Trains', 'Night shift', 'Football', 'Gardening', 'Chess', 'Lost and found', 'Weather', 'Choir'];

export class World {
  /** MySQL away since then. */
  mysqlAway: number | undefined;
  redisAway: number | undefined;
  /** No numbers at all, as just after the start. */
  blank = false;
  backlog = 6;
  dead: api.DeadLetter[];
  rooms: Room[];
  draining = false;
  /** Messages are taken, and those who sent them do not learn of it. */
  loseAnswers = false;
  private sent = new Map<string, { seq: number; time_ms: number }>();
  private chance = 7;

  constructor(
    private now: () => number,
    private readonly started = now(),
  ) {
    this.rooms = names.map((name, i) => ({
      id: name.toLowerCase().replaceAll(' ', '-'),
      name,
      perSecond: 6 / (i + 1),
      messages: [],
      holes: [],
      seq: 0,
      heat: 40 - i * 4,
      online: 120 - i * 11,
    }));
    this.rooms[0]!.holes.push({ from: 31, to: 34, reason: 'lost' });
    for (const room of this.rooms) while (room.messages.length < 60) this.say(room);
    this.dead = [
      {
        group: 'chess',
        seq: 1204,
        from: 'gus',
        time_ms: this.started - 90_000,
        reason: "Error 1406: Data too long for column 'msg_body' at row 1",
        bytes: 11_904,
        created_ms: this.started - 88_000,
      },
    ];
  }

  /** Lets a second pass. */
  tick() {
    for (const room of this.rooms) {
      const wave = 1 + Math.sin(this.now() / 20_000 + room.perSecond * 9) * 0.8;
      for (let n = room.perSecond * wave * this.random() * 2; n > this.random(); n--) this.say(room);
      room.heat = Math.max(1, room.heat + Math.round((this.random() - 0.5) * 3 * wave));
      room.online = Math.max(0, room.online + Math.round((this.random() - 0.5) * 4));
    }
    if (this.mysqlAway === undefined)
      this.backlog = Math.round(this.backlog > 40 ? this.backlog * 0.6 : 3 + this.random() * 8);
    else this.backlog += 320 + Math.round(this.random() * 60);
  }

  answer(method: string, path: string, body: { [key: string]: unknown } = {}): Answer {
    const [route = '', query = ''] = path.split('?', 2);
    const [, first = '', id = '', action = ''] = route.split('/').map(decodeURIComponent);
    const group = new URLSearchParams(query).get('group');
    switch (`${method} ${first}${action && ` ${action}`}`) {
      case 'GET overview':
        return ok(this.overview());
      case 'GET rates':
        return group ? ok(this.groupRates(group)) : ok(this.rates());
      case 'GET groups':
        return ok(this.group(id));
      case 'GET users':
        return ok(this.user(id));
      case 'POST groups messages':
        return this.send(id, String(body.text), String(body.client_id));
      case 'POST groups recall':
        return this.recall(id, body.seqs as number[]);
      case 'GET dead':
        return id === 'retry' ? unknown : ok({ letters: this.dead });
      case 'POST dead':
        return this.retry(String(body.group));
      case 'GET config':
        return ok({ config });
      default:
        return unknown;
    }
  }

  overview(): api.Overview {
    const now = this.now();
    const stores: api.Overview['stores'] = { redis: { ok: true }, mysql: { ok: true } };
    if (this.mysqlAway !== undefined) {
      stores.mysql = {
        ok: false,
        since_ms: this.mysqlAway,
        hint: 'dial tcp 10.0.0.7:3306: connect: connection refused',
      };
    }
    if (this.redisAway !== undefined) stores.redis = { ok: false, since_ms: this.redisAway, hint: 'i/o timeout' };
    const instances = ['a', 'b', 'c'].map((name, i) => this.instance(name, i, now));
    const totals: api.Totals = {
      messages_per_s: total(instances, 'messages_per_s'),
      deliveries_per_s: total(instances, 'deliveries_per_s'),
      connections: total(instances, 'connections'),
      users: total(instances, 'users'),
      backlog: this.backlog,
      lag_ms: this.mysqlAway === undefined ? 38 : now - this.mysqlAway,
      rows_per_s: this.mysqlAway === undefined ? 18.4 : 0,
      p99_ms: 13.6,
      dead_letters: this.dead.length,
    };
    const hot: api.Hot = {
      snapshot: String(Math.floor(now / 2000)),
      time_ms: now - (now % 2000),
      window_ms: 300_000,
      groups: this.hot(),
    };
    if (this.blank)
      return { time_ms: now, instance: 'a', totals: {}, stores, instances: [], hot: { ...hot, groups: [] } };
    if (this.redisAway !== undefined)
      return { time_ms: now, instance: 'a', totals: {}, stores, instances: instances.slice(0, 1) };
    return { time_ms: now, instance: 'a', totals, stores, instances, hot };
  }

  page(id: string, afterSeq?: number): api.RoomPage | undefined {
    const room = this.rooms.find((r) => r.id === id);
    if (!room) return undefined;
    const messages = afterSeq === undefined ? room.messages.slice(-50) : room.messages.filter((m) => m.seq > afterSeq);
    const from = afterSeq ?? (messages[0]?.seq ?? 1) - 1;
    return {
      messages,
      holes: room.holes.filter((h) => h.from > from),
      max_seq: room.seq,
      persisted_seq: Math.max(0, room.seq - (this.mysqlAway === undefined ? 1 : 25)),
      online: room.online,
    };
  }

  private hot(): api.HotGroup[] {
    return [...this.rooms]
      .sort((a, b) => b.heat - a.heat || (a.id < b.id ? -1 : 1))
      .map((r, i) => ({
        rank: i + 1,
        group: r.id,
        name: r.name,
        type: 'room',
        heat: r.heat,
        online: r.online,
        last_message_ms: r.messages.at(-1)!.time_ms,
      }));
  }

  private instance(name: string, i: number, now: number): api.Instance {
    const wave = 1 + Math.sin(now / 30_000 + i) * 0.4;
    return {
      name,
      version: i === 2 ? 'v0.9.3-2-gdeadbee' : 'v0.9.4',
      started_ms: this.started - [3_600_000 * 53, 3_600_000 * 4 + 61_000, 42_000][i]!,
      seen_ms: now - 400,
      draining: this.draining && i === 1,
      ready: true,
      connections: 1400 + i * 37,
      users: 1310 + i * 30,
      groups: 212,
      messages_per_s: 6.2 * wave,
      deliveries_per_s: 820 * wave,
      p99_ms: 9.4 + i * 4,
      canary_age_ms: 600 + i * 310,
      backlog: i === 2 ? 0 : Math.round(this.backlog / 2),
      lag_ms: 38,
      rows_per_s: 9,
    };
  }

  private rates(): api.Rates {
    const now = this.now();
    const step_ms = 2000;
    const from_ms = now - (now % step_ms) - 449 * step_ms;
    const row = (i: number, by: number) =>
      Array.from({ length: 450 }, (_, s) => {
        if (i === 2 && s < 150) return null;
        const t = from_ms + s * step_ms;
        return by * (1 + Math.sin(t / 60_000 + i) * 0.4 + Math.sin(t / 7000 + i * 5) * 0.15);
      });
    const instances = ['a', 'b', 'c'].map((name, i) => ({ name, messages: row(i, 6.2), deliveries: row(i, 820) }));
    return { step_ms, from_ms, instances };
  }

  private groupRates(group: string): api.GroupRates {
    const step_ms = 5000;
    const from_ms = this.now() - 180 * step_ms;
    const messages = Array.from({ length: 180 }, (_, s) =>
      Math.max(0, 2 + 2 * Math.sin((from_ms + s * step_ms) / 40_000)),
    );
    return { step_ms, from_ms, group, messages };
  }

  private group(id: string): api.GroupReport | undefined {
    const room = this.rooms.find((r) => r.id === id);
    if (!room) return undefined;
    const persisted = this.page(id)!.persisted_seq!;
    const away = this.mysqlAway !== undefined;
    return {
      group: id,
      name: room.name,
      type: 'room',
      owner: 'ann',
      members: 212,
      online: room.online,
      heat: room.heat,
      version: 4,
      partition: 7,
      generation: 3,
      redis: {
        max_seq: room.seq,
        recent_from: Math.max(1, room.seq - 40),
        recent_to: room.seq,
        recent_count: 41,
        persisted_seq: persisted,
      },
      mysql: away ? null : { min_seq: 1, max_seq: persisted, count: persisted - 4 },
      unwritten: { from: persisted + 1, to: room.seq, count: room.seq - persisted },
      holes: room.holes,
      ...this.letters(id),
    };
  }

  private letters(id: string): { dead_letters?: number[] } {
    const seqs = this.dead.filter((l) => l.group === id).map((l) => l.seq);
    return seqs.length ? { dead_letters: seqs } : {};
  }

  private user(user: string): api.UserReport | undefined {
    if (!people.includes(user)) return undefined;
    return {
      user,
      online: true,
      connections: [
        { conn: '0192f0aa-7c1e', instance: 'a', device: 'ios', platform: 'iPhone', since_ms: this.started - 600_000 },
        { conn: '0192f0ab-11d2', instance: 'b', device: 'web', since_ms: this.started - 30_000 },
      ],
      groups: this.rooms.map((r, i) => ({
        group: r.id,
        role: i ? 'member' : 'owner',
        max_seq: r.seq,
        read_seq: r.seq - i * 3,
        unread: i * 3,
      })),
    };
  }

  private say(room: Room, text?: string): Message {
    const hole = room.holes.find((h) => h.from === room.seq + 1);
    room.seq = hole ? hole.to + 1 : room.seq + 1;
    const message = {
      group: room.id,
      seq: room.seq,
      time_ms: this.now(),
      from: text === undefined ? people[Math.floor(this.random() * people.length)]! : 'system',
      body: [{ type: 'text' as const, text: text ?? lines[Math.floor(this.random() * lines.length)]! }],
    };
    room.messages = [...room.messages.slice(-400), message];
    return message;
  }

  private send(id: string, text: string, clientID: string): Answer {
    const room = this.rooms.find((r) => r.id === id);
    if (!room) return unknown;
    const duplicate = this.sent.has(clientID);
    const { seq, time_ms } = this.sent.get(clientID) ?? this.say(room, text);
    this.sent.set(clientID, { seq, time_ms });
    if (this.loseAnswers) return { status: 503, body: { code: 'unavailable', detail: 'Redis does not answer.' } };
    return { status: 200, body: { group: id, seq, time_ms, duplicate, durable: false, persisted_seq: seq - 1 } };
  }

  private recall(id: string, seqs: number[]): Answer {
    const room = this.rooms.find((r) => r.id === id);
    if (!room) return unknown;
    room.messages = room.messages.map(
      ({ body, ...m }): Message =>
        seqs.includes(m.seq) || !body
          ? ({ ...m, recalled_ms: m.recalled_ms ?? this.now(), recalled_by: m.recalled_by ?? 'ops' } as Message)
          : ({ ...m, body } as Message),
    );
    return { status: 200, body: {} };
  }

  private retry(group: string): Answer {
    const before = this.dead.length;
    this.dead = this.dead.filter((l) => l.group !== group);
    return { status: 200, body: { stored: before - this.dead.length, refused: 0 } };
  }

  /** The same numbers at each run. */
  private random(): number {
    this.chance = (this.chance * 1_103_515_245 + 12_345) % 2_147_483_648;
    return this.chance / 2_147_483_648;
  }
}

const unknown: Answer = { status: 404, body: { error: { code: 'not_found', message: 'unknown' } } };

const config = `node:
  name: a
http:
  addr: :8080
  internal_addr: 127.0.0.1:9090
redis:
  addrs: [10.0.0.5:6379]
  password: '***'
mysql:
  dsn: ***
heat:
  window: 5m # distinct users who spoke
`;

function ok(body: unknown): Answer {
  return body === undefined ? unknown : { status: 200, body };
}

function total(
  instances: api.Instance[],
  key: 'messages_per_s' | 'deliveries_per_s' | 'connections' | 'users',
): number {
  return instances.reduce((n, i) => n + (i[key] ?? 0), 0);
}
