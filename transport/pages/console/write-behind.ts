// How the way to MySQL stands, in words: what an operator must know at three at night.

import { duration, plural, rate } from './format';
import type { Overview } from './types';

export interface Standing {
  level: 'good' | 'warn' | 'bad' | 'unknown';
  title: string;
  text: string;
}

const lateMS = 5000;

export function standing(o: Overview, now: number): Standing {
  const { backlog, lag_ms: lag, rows_per_s: rows, dead_letters: dead } = o.totals;
  const { mysql, redis } = o.stores;
  if (!redis.ok) {
    return { level: 'bad', title: 'Redis away', text: 'What waits there is counted again when it is back.' };
  }
  if (!mysql.ok) {
    const since = mysql.since_ms === undefined ? '' : ` for ${duration(now - mysql.since_ms)}`;
    const waits = waiting(backlog);
    return {
      level: 'warn',
      title: `MySQL away${since}`,
      text: `${waits} in Redis; nothing is lost; sending goes on.`,
    };
  }
  if (backlog === undefined)
    return { level: 'unknown', title: 'Not known yet', text: 'No instance has told its backlog.' };
  if (backlog > 0 && lag !== undefined && lag > lateMS) {
    const left = rows ? `, about ${duration((backlog / rows) * 1000)} at ${rate(rows)} rows/s` : '';
    return {
      level: 'warn',
      title: `MySQL is ${duration(lag)} behind`,
      text: `${plural(backlog, 'message')} still to be written${left}. Nothing is lost.${dead ? ` ${refused(dead)}` : ''}`,
    };
  }
  if (dead) {
    const rest =
      backlog === 0 ? 'Every other message accepted is in MySQL.' : `${plural(backlog, 'message')} on the way.`;
    return { level: 'warn', title: `MySQL refused ${plural(dead, 'message')}`, text: `${inLetters(dead)} ${rest}` };
  }
  return {
    level: 'good',
    title: 'MySQL keeps up',
    text: backlog === 0 ? allThere(dead) : `${plural(backlog, 'message')} on the way.`,
  };
}

/** Whether MySQL has refused some must be known to say that it has all. */
function allThere(dead: number | undefined): string {
  return dead === undefined ? 'No message waits to be written.' : 'Every message accepted is in MySQL.';
}

function refused(dead: number): string {
  return `MySQL refused ${plural(dead, 'message')}. ${inLetters(dead)}`;
}

function inLetters(dead: number): string {
  return `${dead === 1 ? 'It lies' : 'They lie'} whole in the dead letters, to be retried.`;
}

function waiting(backlog: number | undefined): string {
  if (backlog === undefined) return 'messages wait';
  if (backlog === 0) return 'no message waits';
  return `${plural(backlog, 'message')} ${backlog === 1 ? 'waits' : 'wait'}`;
}
