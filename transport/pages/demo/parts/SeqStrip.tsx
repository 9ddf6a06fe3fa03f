import type { Chat } from '../chat/chat';
import type { Room } from '../chat/room';
import { type Entry, isGapless } from '../chat/timeline';

const CELLS = 18;
const CELLS_TITLE =
  'The last seqs, a square each: grey is had, green was caught up, striped is a hole, dashed is not here yet';
const STATES = { had: 'had', missed: 'caught up', hole: 'a hole' };

/** The last seqs as a row of cells: had, caught up, hole, and what is not known yet. */
export function SeqStrip({ chat, room }: { chat: Chat; room: Room }) {
  const entries = room.entries.value.filter((entry) => entry.kind !== 'note').slice(-CELLS);
  const position = room.position.value;
  const away = chat.place.value !== 'online';
  const behind = room.maxSeq.value - position;
  return (
    <div class="strip">
      <span class="cells" aria-hidden="true" title={CELLS_TITLE}>
        <small class="caption">last seqs</small>
        {entries.map((entry) => (
          <i key={entry.at} class={classOf(entry)} title={`#${entry.at}: ${STATES[classOf(entry)]}`} />
        ))}
        {away && [1, 2, 3].map((n) => <i key={`unknown ${n}`} class="unknown" />)}
        {!away && behind > 0 && <i class="unknown" />}
      </span>
      <span class="position" data-testid="position" data-seq={position}>
        {isGapless(entries) ? positionText(position, behind, away) : 'a seq is missing, without a reason!'}
      </span>
    </div>
  );
}

function classOf(entry: Entry): keyof typeof STATES {
  if (entry.kind === 'hole') return 'hole';
  return entry.kind === 'message' && entry.missed ? 'missed' : 'had';
}

function positionText(position: number, behind: number, away: boolean): string {
  if (away) return `you have up to #${position} – what came since?`;
  if (behind > 0) return `you are at #${position}, the room is ${behind} ahead`;
  return position === 0 ? 'no message yet' : `you have everything up to #${position}`;
}
