// What must not be overlooked: old numbers, a store that is away.

import { duration } from '../format';
import { age, link, old, overview, pageNow, serverNow } from '../state';
import { standing } from '../write-behind';

export function Banners() {
  return (
    <div class="banners">
      <Old />
      <Stores />
    </div>
  );
}

function Old() {
  const waiting = link.value.state === 'waiting' ? link.value.retryAt - pageNow.value : 0;
  const next = waiting > 0 ? `Trying again in ${duration(waiting + 999)}.` : 'Trying again …';
  if (!overview.value) {
    return link.value.state === 'waiting' ? (
      <p class="banner bad" data-testid="link-banner">
        <strong>hearth does not answer.</strong> {next}
      </p>
    ) : null;
  }
  if (!old.value) return null;
  return (
    <p class="banner bad" data-testid="link-banner">
      <strong>These numbers are {duration(age.value)} old.</strong> hearth does not answer. {next}
    </p>
  );
}

function Stores() {
  const o = overview.value;
  if (!o) return null;
  const { redis, mysql } = o.stores;
  const now = serverNow.value;
  return (
    <>
      {!redis.ok && (
        <p class="banner bad" data-testid="redis-banner">
          <strong>Redis away{redis.since_ms === undefined ? '' : ` for ${duration(now - redis.since_ms)}`}.</strong>{' '}
          Nothing can be sent until it is back; clients are told to try again. The numbers are of the instance{' '}
          {o.instance} alone.
          <Hint text={redis.hint} />
        </p>
      )}
      {!mysql.ok && redis.ok && (
        <p class="banner warn" data-testid="mysql-banner">
          <strong>{standing(o, now).title}.</strong> {standing(o, now).text}
          <Hint text={mysql.hint} />
        </p>
      )}
    </>
  );
}

function Hint({ text }: { text: string | undefined }) {
  return text ? <span class="hint-line">{text}</span> : null;
}
