import { useRef } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import type { Room } from '../chat/room';
import type { Entry } from '../chat/timeline';
import { holeText } from '../chat/words';
import { DraftRow } from './DraftRow';
import { MessageRow } from './MessageRow';
import { useStickToEnd } from './stick';

const TOGETHER_MS = 2 * 60_000;

export function MessageList({ chat, room }: { chat: Chat; room: Room }) {
  const list = useRef<HTMLDivElement>(null);
  const entries = room.entries.value;
  const drafts = room.drafts.value;
  const { away, toEnd } = useStickToEnd(list, `${entries.at(-1)?.at} ${entries.length} ${drafts.length}`);
  const digits = Math.max(4, String(room.maxSeq.value).length);
  return (
    <div class="log-frame" style={{ '--digits': String(digits) }}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: to scroll it by keyboard */}
      <div ref={list} class="log" role="log" aria-label={`Messages of ${room.id}`} tabIndex={0}>
        <ol>
          {room.more.value && (
            <li class="older">
              <button type="button" data-testid="older" onClick={() => void room.older().catch(() => {})}>
                Older messages
              </button>
            </li>
          )}
          {entries.map((entry, n) => (
            <Row key={keyOf(entry)} chat={chat} room={room} entry={entry} before={entries[n - 1]} />
          ))}
          {drafts.map((draft) => (
            <DraftRow key={draft.clientId} room={room} draft={draft} away={chat.place.value !== 'online'} />
          ))}
          {room.loaded.value && entries.length === 0 && drafts.length === 0 && (
            <li class="empty">Nobody has said anything here. The first message gets seq 1.</li>
          )}
        </ol>
      </div>
      {away && (
        <button type="button" class="to-end" onClick={toEnd}>
          ↓ newest
        </button>
      )}
    </div>
  );
}

function keyOf(entry: Entry): string {
  return entry.kind === 'note' ? `note ${entry.key}` : `${entry.kind} ${entry.at}`;
}

function Row({ chat, room, entry, before }: { chat: Chat; room: Room; entry: Entry; before: Entry | undefined }) {
  switch (entry.kind) {
    case 'note':
      return (
        <li class="note-row" data-testid="note">
          {entry.text}
        </li>
      );
    case 'hole':
      return (
        <li class="hole-row" data-testid="hole" data-from={entry.hole.from} data-to={entry.hole.to}>
          {holeText(entry.hole)}
        </li>
      );
    default: {
      const follows =
        before?.kind === 'message' &&
        before.message.from === entry.message.from &&
        entry.message.time_ms - before.message.time_ms < TOGETHER_MS;
      return <MessageRow chat={chat} room={room} message={entry.message} missed={entry.missed} follows={follows} />;
    }
  }
}
