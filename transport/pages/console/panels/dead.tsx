// Messages that MySQL refused: kept whole, and stored after all when an operator has removed the reason.

import { useSignal } from '@preact/signals';
import { get, post, says } from '../api';
import { bytes, clock, dateTime, exact, plural } from '../format';
import { useLoaded } from '../load';
import { format } from '../route';
import { announce } from '../state';
import type { DeadLetter, DeadLetters } from '../types';
import { Failure } from './panel';

/** Nothing to see without one. */
export function Dead({ count }: { count: number | undefined }) {
  const result = useSignal('');
  if (!count && !result.value) return null;
  return (
    <section class="dead" aria-label="Dead letters">
      <h3>Dead letters</h3>
      <p class="soft">MySQL refused these messages. Their seqs are holes until a retry stores them.</p>
      <p role="status" class="result">
        {result.value}
      </p>
      {count ? <List count={count} say={(text) => (result.value = text)} /> : null}
    </section>
  );
}

function List({ count, say }: { count: number; say: (text: string) => void }) {
  const cursor = useSignal('');
  const { loaded, reload } = useLoaded(`${count} ${cursor.value}`, () =>
    get<DeadLetters>(`/dead${cursor.value ? `?cursor=${encodeURIComponent(cursor.value)}` : ''}`),
  );
  const { data, error } = loaded.value;
  return (
    <>
      {error && <Failure>{error.message}</Failure>}
      <ul class="letters">
        {data?.letters?.map((l) => (
          <Letter key={`${l.group} ${l.seq}`} letter={l} say={say} done={reload} />
        ))}
      </ul>
      {(cursor.value || data?.cursor) && (
        <p class="pages">
          <button type="button" class="quiet" disabled={!cursor.value} onClick={() => (cursor.value = '')}>
            First page
          </button>
          <button type="button" class="quiet" disabled={!data?.cursor} onClick={() => (cursor.value = data!.cursor!)}>
            Next page
          </button>
        </p>
      )}
    </>
  );
}

function Letter({ letter: l, say, done }: { letter: DeadLetter; say: (text: string) => void; done: () => void }) {
  const busy = useSignal(false);

  async function retry(seq?: number) {
    busy.value = true;
    try {
      const body = seq === undefined ? { group: l.group } : { group: l.group, seq };
      const { stored, refused } = await post<{ stored: number; refused: number }>('/dead/retry', body);
      say(`${l.group}: ${exact(stored)} stored, ${exact(refused)} refused again.`);
      announce(`${plural(stored, 'message')} stored`);
    } catch (e) {
      say(`${l.group}: ${says(e)}`);
    } finally {
      busy.value = false;
      done();
    }
  }

  const what = `${l.group} ${exact(l.seq)}`;
  return (
    <li data-testid="dead-letter" data-group={l.group} data-seq={l.seq}>
      <p>
        <a href={format({ view: 'inspect', kind: 'group', id: l.group })}>{l.group}</a>{' '}
        <span class="seq">#{exact(l.seq)}</span>{' '}
        <span class="soft">
          {l.from && `from ${l.from}, `}
          <time title={dateTime(l.time_ms)}>{clock(l.time_ms)}</time>
          {l.bytes !== undefined && `, ${bytes(l.bytes)}`}
        </span>
      </p>
      {l.reason && <p class="reason">{l.reason}</p>}
      <p class="actions">
        <button type="button" disabled={busy.value} onClick={() => retry(l.seq)} aria-label={`Retry ${what}`}>
          Retry
        </button>
        <button
          type="button"
          class="quiet"
          disabled={busy.value}
          onClick={() => retry()}
          aria-label={`Retry all of ${l.group}`}
        >
          Retry all
        </button>
      </p>
    </li>
  );
}
