import type { HotGroup } from 'hearth-chat';
import type { TargetedEvent } from 'preact';
import { useRef } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { whyNoRoom } from '../chat/names';
import { heatText, minutes } from '../chat/words';
import { useGlide } from './glide';

export type Enter = (room: string) => void;

/** The hot rooms as the server ranks them, then the ones that nobody talks in. */
export function Board({ chat, enter }: { chat: Chat; enter: Enter }) {
  const hot = chat.hot.value;
  const ranked = new Set(hot.map(({ group }) => group));
  const quiet = [...new Set([...chat.config.rooms, ...chat.rooms.value.keys()])].filter((room) => !ranked.has(room));
  const list = useRef<HTMLOListElement>(null);
  useGlide(list, hot.map(({ group }) => group).join(' '));
  const top = hot[0]?.heat ?? 1;
  return (
    <nav class="pane board" aria-labelledby="board-title">
      <h2 id="board-title">Hot rooms</h2>
      <p class="caption">
        {chat.config.weighed ? (
          <>
            <b>Heat</b> is made of who speaks, what is said and who is here, within {minutes(chat.config.window_ms)}.
          </>
        ) : (
          <>
            <b>Heat</b> is how many different people spoke in the last {minutes(chat.config.window_ms)}. Whoever says a
            hundred things counts once.
          </>
        )}
      </p>
      <ol ref={list} class="rows">
        {hot.map((room) => (
          <HotRow key={room.group} chat={chat} room={room} top={top} enter={enter} />
        ))}
      </ol>
      {quiet.length > 0 && (
        <>
          <h3>{hot.length > 0 ? 'Quiet at the moment' : 'Nobody talks yet'}</h3>
          <ul class="rows">
            {quiet.map((room) => (
              <li key={room}>
                <button
                  type="button"
                  class="row quiet"
                  data-testid="quiet-row"
                  data-group={room}
                  aria-current={chat.current.value === room ? 'true' : undefined}
                  onClick={() => enter(room)}
                >
                  <span class="rank">–</span>
                  <span class="name">{room}</span>
                  <Unread chat={chat} group={room} />
                </button>
              </li>
            ))}
          </ul>
        </>
      )}
      <Another enter={enter} />
    </nav>
  );
}

function HotRow({ chat, room, top, enter }: { chat: Chat; room: HotGroup; top: number; enter: Enter }) {
  const { group, rank, heat, online } = room;
  const why = chat.config.weighed ? `heat ${heat}` : heatText(heat, chat.config.window_ms);
  return (
    <li data-key={group}>
      <button
        type="button"
        class="row"
        data-testid="hot-row"
        data-group={group}
        data-rank={rank}
        data-heat={heat}
        aria-current={chat.current.value === group ? 'true' : undefined}
        onClick={() => enter(group)}
      >
        <span class="rank">{rank}</span>
        <span class="name">{group}</span>
        <Unread chat={chat} group={group} />
        <span class="heat" aria-hidden="true" title={`${why}; ${online} here now`}>
          {heat}
        </span>
        <span class="why">{why}</span>
        <span class="hidden">{online} here now</span>
        <span class="bar" aria-hidden="true" style={{ '--part': String(heat / Math.max(1, top)) }} />
      </button>
    </li>
  );
}

/** Of the room that is looked at nothing is told: it is being read. */
function unreadOf(chat: Chat, group: string): number {
  if (group === chat.current.value && chat.visible.value) return 0;
  return chat.rooms.value.get(group)?.unread.value ?? 0;
}

function Unread({ chat, group }: { chat: Chat; group: string }) {
  const unread = unreadOf(chat, group);
  if (unread === 0) return null;
  return (
    <span>
      <span class="unread" data-testid="unread" data-group={group}>
        {unread > 99 ? '99+' : unread}
      </span>
      <span class="hidden"> unread</span>
    </span>
  );
}

function Another({ enter }: { enter: Enter }) {
  const go = (event: TargetedEvent<HTMLFormElement, SubmitEvent>) => {
    event.preventDefault();
    const input = event.currentTarget.elements.namedItem('room') as HTMLInputElement;
    enter(input.value.trim());
    input.value = '';
  };
  return (
    <form class="another" onSubmit={go}>
      <input
        name="room"
        aria-label="Another room"
        placeholder="another room"
        title="Letters, digits and _ . @ # -"
        onInput={(event) => event.currentTarget.setCustomValidity(whyNoRoom(event.currentTarget.value.trim()))}
        autocomplete="off"
        spellcheck={false}
        required
      />
      <button type="submit">Go</button>
    </form>
  );
}
