// What must not be overlooked: old numbers, a store that is away.

import { duration } from '../format';
import { age, link, old, overview, pageNow, serverNow, shownAgain } from '../state';
import { standing } from '../write-behind';

export function Banners() {
  const all = [outdated(), redis(), mysql()].filter((b) => b !== null);
  if (!all.length) return null;
  return <section aria-label="Warnings">{all}</section>;
}

function outdated() {
  if (overview.value && !old.value) return null;
  const l = link.value;
  const waiting = l.state === 'waiting' ? l.retryAt - pageNow.value : undefined;
  if (waiting === undefined && (!overview.value || shownAgain.value)) return null;
  return (
    <p class="banner bad" key="link" data-testid="link-banner">
      {overview.value && <strong>These numbers are {duration(age.value)} old. </strong>}
      {l.state === 'waiting' && l.says ? `hearth says: ${l.says}.` : 'hearth does not answer.'}{' '}
      {waiting !== undefined && waiting > 0 ? `Trying again in ${duration(waiting + 999)}.` : 'Trying again …'}
    </p>
  );
}

function redis() {
  const o = overview.value;
  if (!o || o.stores.redis.ok) return null;
  const { since_ms, hint } = o.stores.redis;
  return (
    <p class="banner bad" key="redis" data-testid="redis-banner">
      <strong>Redis away{since_ms === undefined ? '' : ` for ${duration(serverNow.value - since_ms)}`}.</strong> Nothing
      can be sent until it is back; clients are told to try again. The numbers are of the instance {o.instance} alone.
      <Hint text={hint} />
    </p>
  );
}

function mysql() {
  const o = overview.value;
  if (!o || o.stores.mysql.ok || !o.stores.redis.ok) return null;
  const { title, text } = standing(o, serverNow.value);
  return (
    <p class="banner warn" key="mysql" data-testid="mysql-banner">
      <strong>{title}.</strong> {text}
      <Hint text={o.stores.mysql.hint} />
    </p>
  );
}

function Hint({ text }: { text: string | undefined }) {
  return text ? <span class="hint-line">{text}</span> : null;
}
