// One room as those in it see it, with what they do not see: seqs, holes, how far MySQL is.

import { useSignal } from '@preact/signals';
import type { TargetedSubmitEvent } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { get, isGone, post, says, segment } from '../api';
import { type Draft, draft } from '../draft';
import { count, exact } from '../format';
import { useLoaded } from '../load';
import { empty, end, merge, type RoomLog, recall } from '../room-log';
import { format } from '../route';
import { session } from '../session';
import { announce, overview, serverNow, watch } from '../state';
import type { GroupReport, RoomPage } from '../types';
import { Messages } from './messages';
import { Empty, Failure, Figure, Loading, Panel } from './panel';

export function Room({ group }: { group: string | undefined }) {
  return (
    <>
      <Chooser group={group} />
      {group ? <OpenRoom group={group} /> : <Suggestions />}
    </>
  );
}

function Chooser({ group }: { group: string | undefined }) {
  function open(e: TargetedSubmitEvent<HTMLFormElement>) {
    e.preventDefault();
    const id = String(new FormData(e.currentTarget).get('group') ?? '').trim();
    if (id) location.hash = format({ view: 'room', group: id });
  }
  return (
    <form class="chooser" onSubmit={open}>
      <label for="room">Room</label>
      <input
        id="room"
        name="group"
        defaultValue={group ?? ''}
        list="rooms"
        autocomplete="off"
        required
        spellcheck={false}
      />
      <datalist id="rooms">
        {overview.value?.hot?.groups.map((g) => (
          <option key={g.group} value={g.group}>
            {g.name}
          </option>
        ))}
      </datalist>
      <button type="submit">Open</button>
    </form>
  );
}

function Suggestions() {
  const groups = overview.value?.hot?.groups.slice(0, 8) ?? [];
  return (
    <Panel name="suggestions" title="No room is open">
      {groups.length === 0 ? (
        <Empty>Type the id of a room or group.</Empty>
      ) : (
        <>
          <p class="soft">Type an id, or open one of those where people are talking:</p>
          <ul class="chips">
            {groups.map((g) => (
              <li key={g.group}>
                <a href={format({ view: 'room', group: g.group })}>
                  {g.name || g.group} <span class="soft">{exact(g.heat)}</span>
                </a>
              </li>
            ))}
          </ul>
        </>
      )}
    </Panel>
  );
}

function OpenRoom({ group }: { group: string }) {
  const log = useSignal<RoomLog>(empty);
  const page = useSignal<RoomPage | null>(null);
  const url = `/groups/${segment(group)}`;
  const { loaded, reload } = useLoaded(group, () => get<GroupReport>(url));
  const report = loaded.value;
  // Away is not gone: the stream shows it when it is back.
  const gone = report.error !== undefined && isGone(report.error);
  const known = report.data !== undefined || (report.error !== undefined && !gone);

  useEffect(() => {
    if (!known) return;
    return watch({
      group,
      after: () => end(log.peek()),
      page: (data) => {
        page.value = data;
        log.value = merge(log.peek(), data);
      },
      refused: reload,
    });
  }, [url, known]);

  async function take(seq: number) {
    await post(`${url}/recall`, { seqs: [seq] });
    log.value = recall(log.value, [seq], session.value?.key ?? '', serverNow.value);
    announce(`Message ${seq} recalled`);
  }

  const links = (
    <p class="links">
      <a href={format({ view: 'inspect', kind: 'group', id: group })}>Inspect</a>
      <a href={format({ view: 'overview', rates: group, metric: 'messages' })}>Rate</a>
    </p>
  );
  const name = report.data?.name || group;
  return (
    <Panel name="open-room" title={name} aside={links}>
      {report.error && (gone || !page.value) ? (
        <Failure>{report.error.status === 404 ? `There is no group “${group}”.` : report.error.message}</Failure>
      ) : !page.value ? (
        <Loading />
      ) : (
        <>
          <dl class="figures">
            <Figure name="Viewers" testid="room-viewers">
              {count(page.value.online)}
            </Figure>
            <Figure name="Max seq" testid="room-max-seq">
              {exact(page.value.max_seq)}
            </Figure>
            <Figure name="Persisted" testid="room-persisted-seq">
              {exact(page.value.persisted_seq)}
            </Figure>
          </dl>
          <button type="button" class="skip" onClick={() => document.getElementById('text')?.focus()}>
            Skip to the message field
          </button>
          <Messages log={log.value} persisted={page.value.persisted_seq} recall={take} />
          <Composer group={group} />
        </>
      )}
    </Panel>
  );
}

function Composer({ group }: { group: string }) {
  const text = useSignal('');
  const busy = useSignal(false);
  const failure = useSignal('');
  const tried = useRef<Draft | undefined>(undefined);

  async function send(e: TargetedSubmitEvent<HTMLFormElement>) {
    e.preventDefault();
    if (!text.value.trim() || busy.value) return;
    busy.value = true;
    failure.value = '';
    tried.current = draft(tried.current, text.value);
    try {
      const { seq } = await post<{ seq: number }>(`/groups/${segment(group)}/messages`, {
        ...tried.current,
      });
      tried.current = undefined;
      text.value = '';
      announce(`Sent as message ${seq}`);
    } catch (e) {
      failure.value = says(e);
    } finally {
      busy.value = false;
    }
  }

  return (
    <form class="composer" onSubmit={send}>
      <label for="text" class="hidden">
        Message as system
      </label>
      <input
        id="text"
        value={text.value}
        onInput={(e) => (text.value = e.currentTarget.value)}
        placeholder="Say something as system"
        autocomplete="off"
        data-testid="room-text"
      />
      <button type="submit" class="primary" disabled={busy.value || !text.value.trim()} data-testid="room-send">
        Send
      </button>
      {failure.value && <Failure>{failure.value}</Failure>}
    </form>
  );
}
