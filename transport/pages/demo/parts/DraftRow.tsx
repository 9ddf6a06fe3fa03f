import type { Draft, Room } from '../chat/room';
import { Body } from './Body';

/** What is on its way. */
export function DraftRow({ room, draft, away }: { room: Room; draft: Draft; away: boolean }) {
  const { seq, error } = draft;
  return (
    <li class={error ? 'message mine draft failed' : 'message mine draft'} data-testid="draft">
      <span class="seq">{seq === undefined ? '#…' : `#${seq}`}</span>
      <div class="said">
        <Body body={draft.body} />
        <p class="foot">
          {error ? (
            <>
              <span class="bad">{error}</span>
              <button type="button" class="link" onClick={() => room.retry(draft)}>
                try again
              </button>
            </>
          ) : (
            <span>{progress(seq, away)}</span>
          )}
        </p>
      </div>
    </li>
  );
}

function progress(seq: number | undefined, away: boolean): string {
  if (seq !== undefined) return 'kept';
  return away ? 'waits for the connection' : 'on its way …';
}
