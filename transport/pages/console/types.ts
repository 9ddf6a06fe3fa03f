// What the console's API answers (transport/console). Numbers that the server does not know are left out: no 0 for
// "do not know". Times are milliseconds since the Unix epoch.

import type { Hole, Message } from 'hearth-chat';

export interface Session {
  key: string;
  instance: string;
  version: string;
}

export interface Totals {
  messages_per_s?: number;
  deliveries_per_s?: number;
  connections?: number;
  users?: number;
  /** Messages accepted and not in MySQL. */
  backlog?: number;
  lag_ms?: number;
  rows_per_s?: number;
  p99_ms?: number;
  dead_letters?: number;
}

export interface Store {
  ok: boolean;
  since_ms?: number;
  hint?: string;
}

export interface Instance {
  name: string;
  version?: string;
  started_ms?: number;
  seen_ms?: number;
  draining?: boolean;
  ready?: boolean;
  connections?: number;
  users?: number;
  groups?: number;
  messages_per_s?: number;
  deliveries_per_s?: number;
  p99_ms?: number;
  canary_age_ms?: number;
  backlog?: number;
  lag_ms?: number;
  rows_per_s?: number;
}

export interface HotGroup {
  rank: number;
  group: string;
  name?: string;
  type?: string;
  heat: number;
  online?: number;
  last_message_ms?: number;
}

export interface Hot {
  snapshot: string;
  time_ms: number;
  window_ms: number;
  groups: HotGroup[];
}

export interface Overview {
  time_ms: number;
  instance: string;
  totals: Totals;
  stores: { redis: Store; mysql: Store };
  instances: Instance[];
  hot?: Hot;
}

type Values = (number | null)[];

/** Per second values, one a step; null where the instance did not live. */
export interface Rates {
  step_ms: number;
  from_ms: number;
  instances: { name: string; messages: Values; deliveries: Values }[];
}

export interface GroupRates {
  step_ms: number;
  from_ms: number;
  group: string;
  messages: Values;
}

export interface GroupReport {
  group: string;
  name?: string;
  type?: string;
  owner?: string;
  members?: number;
  online?: number;
  heat?: number;
  version?: number;
  partition?: number;
  generation?: number;
  /** Null when Redis knows nothing of the group. */
  redis: {
    max_seq?: number;
    recent_from?: number;
    recent_to?: number;
    recent_count?: number;
    persisted_seq?: number;
  } | null;
  /** Null when MySQL is away. */
  mysql: { min_seq?: number; max_seq?: number; count?: number } | null;
  unwritten: { from: number; to: number; count: number } | null;
  holes: Hole[] | null;
  /** Seqs of messages that MySQL has refused, ascending; left out when there are none, or MySQL is away. */
  dead_letters?: number[];
}

export interface UserReport {
  user: string;
  online?: boolean;
  connections: { conn: string; instance?: string; device?: string; platform?: string; since_ms?: number }[] | null;
  groups: { group: string; role?: string | null; max_seq?: number; read_seq?: number; unread?: number }[] | null;
  cursor?: string;
}

/** What a room's stream tells at once. */
export interface RoomPage {
  messages: Message[];
  holes: Hole[];
  max_seq: number;
  persisted_seq?: number;
  online?: number;
  /** Of messages that were shown before. */
  recalls?: { seq: number; recalled_ms: number; recalled_by: string }[];
}

export interface DeadLetter {
  group: string;
  seq: number;
  from?: string;
  time_ms?: number;
  reason?: string;
  bytes?: number;
  created_ms?: number;
}

export interface DeadLetters {
  letters: DeadLetter[] | null;
  cursor?: string;
}
