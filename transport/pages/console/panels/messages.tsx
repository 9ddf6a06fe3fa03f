import { useComputed, useSignal } from '@preact/signals';
import type { Message } from 'hearth-chat';
import { useEffect, useRef } from 'preact/hooks';
import { says } from '../api';
import { parts } from '../body';
import { clock, dateTime, exact, plural, range } from '../format';
import { type RoomLog, type Row, rows } from '../room-log';
import { format } from '../route';
import { Empty, Failure } from './panel';

interface Props {
  log: RoomLog;
  persisted: number | undefined;
  recall: (seq: number) => Promise<void>;
}

/** Stays at the newest message until somebody scrolls up to read; then tells how many came since. */
export function Messages({ log, persisted, recall }: Props) {
  const list = useRef<HTMLOListElement>(null);
  const readTo = useSignal<number | null>(null);
  const newest = log.messages.at(-1)?.seq ?? 0;
  const unseen = readTo.value === null ? 0 : log.messages.filter((m) => m.seq > readTo.value!).length;

  const toEnd = () => {
    readTo.value = null;
    list.current?.scrollTo({ top: list.current.scrollHeight });
  };
  const scrolled = () => {
    const l = list.current!;
    const atEnd = l.scrollHeight - l.scrollTop - l.clientHeight < 40;
    if (atEnd) readTo.value = null;
    else if (readTo.value === null) readTo.value = newest;
  };
  useEffect(() => {
    if (readTo.value === null) toEnd();
  }, [log]);

  const all = rows(log);
  return (
    <div class="messages">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so it must be reachable by keyboard */}
      <ol ref={list} onScroll={scrolled} tabIndex={0} aria-label="Messages">
        {all.length === 0 && (
          <li>
            <Empty>Nobody has written here yet.</Empty>
          </li>
        )}
        {all.map((r) =>
          r.kind === 'hole' ? (
            <Missing key={`hole ${r.from}`} row={r} />
          ) : (
            <Line
              key={r.message.seq}
              message={r.message}
              written={persisted === undefined || r.message.seq <= persisted}
              recall={recall}
            />
          ),
        )}
      </ol>
      {unseen > 0 && (
        <button type="button" class="to-end" onClick={toEnd}>
          {plural(unseen, 'new message')} ↓
        </button>
      )}
    </div>
  );
}

const reasons = {
  lost: 'lost: no messages are stored under these seqs (the Inspector tells which are dead letters)',
  expired: 'expired: older than the retention',
};

function Missing({ row }: { row: Extract<Row, { kind: 'hole' }> }) {
  const why = row.reason ? reasons[row.reason] : 'not explained by hearth';
  return (
    <li class={`hole ${row.reason ?? 'unexplained'}`} data-testid="hole" data-from={row.from} data-to={row.to}>
      <span class="seq">{range(row.from, row.to)}</span> <span>{why}</span>
    </li>
  );
}

interface LineProps {
  message: Message;
  /** Its row is in MySQL. */
  written: boolean;
  recall: Props['recall'];
}

function Line({ message: m, written, recall }: LineProps) {
  return (
    <li class="message" data-testid="room-message" data-seq={m.seq} data-recalled={m.body ? undefined : true}>
      <span class="seq" title={written ? 'in MySQL' : 'in Redis, not yet in MySQL'}>
        {exact(m.seq)}
        {!written && (
          <>
            <i class="unwritten" aria-hidden="true" />
            <span class="hidden">not yet in MySQL</span>
          </>
        )}
      </span>
      <p class="by">
        <a href={format({ view: 'inspect', kind: 'user', id: m.from })}>{m.from}</a>
        <time title={dateTime(m.time_ms)}>{clock(m.time_ms)}</time>
        {m.reply_to !== undefined && <span>answers {exact(m.reply_to)}</span>}
        {m.operator && <span>by {m.operator}</span>}
      </p>
      {m.body && <Recall seq={m.seq} recall={recall} />}
      {m.body ? <Body message={m} /> : <p class="recalled">recalled by {m.recalled_by}</p>}
    </li>
  );
}

function Body({ message }: { message: Message }) {
  const shown = useComputed(() => parts(message.body ?? []));
  return (
    <p class="body">
      {shown.value.map((p, i) =>
        p.label ? (
          <span class="thing" key={i}>
            {p.url ? (
              <a href={p.url} target="_blank" rel="noreferrer noopener">
                {p.label}
              </a>
            ) : (
              p.label
            )}{' '}
            {p.text}
          </span>
        ) : (
          <span key={i}>{p.text}</span>
        ),
      )}
    </p>
  );
}

/** In two steps: it cannot be taken back. The focus stays near what it was about. */
function Recall({ seq, recall }: { seq: number; recall: Props['recall'] }) {
  const step = useSignal<'idle' | 'asking' | 'busy'>('idle');
  const failure = useSignal('');
  const box = useRef<HTMLDivElement>(null);
  const touched = useRef(false);

  useEffect(() => {
    if (touched.current && step.value !== 'busy') box.current?.querySelector('button')?.focus();
  }, [step.value]);

  function go(next: typeof step.value) {
    touched.current = true;
    step.value = next;
  }

  async function take() {
    const list = box.current?.closest('ol');
    go('busy');
    failure.value = '';
    try {
      await recall(seq);
      list?.focus({ preventScroll: true }); // the button goes with the message
    } catch (e) {
      failure.value = says(e);
      go('idle');
    }
  }

  return (
    <div class="recall" data-step={step.value} ref={box}>
      {step.value === 'idle' ? (
        <button
          type="button"
          class="quiet"
          onClick={() => go('asking')}
          aria-label={`Recall message ${seq}`}
          data-testid="recall"
        >
          Recall
        </button>
      ) : (
        <>
          <button type="button" class="danger" disabled={step.value === 'busy'} onClick={take} data-testid="recall-yes">
            Recall for everybody
          </button>
          <button type="button" class="quiet" onClick={() => go('idle')}>
            Keep
          </button>
        </>
      )}
      {failure.value && <Failure>{failure.value}</Failure>}
    </div>
  );
}
