import { useEffect, useRef } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { burstText } from '../chat/words';

/** The buttons that break things, and what they did. */
export function Experiments({ chat }: { chat: Chat }) {
  const drop = useRef<HTMLButtonElement>(null);
  const reconnect = useRef<HTMLButtonElement>(null);
  const place = chat.place.value;
  const down = place === 'dropped';
  const burst = chat.burst.value;
  // A button that was pressed is off afterwards, and would take the focus with it.
  const moves = useRef(false);
  useEffect(() => {
    const next = down ? reconnect.current : drop.current;
    if (!moves.current || next?.disabled) return;
    moves.current = false;
    next?.focus();
  }, [place, down]);
  return (
    <section class="experiments" aria-label="Try it">
      <div class="buttons">
        <button
          ref={drop}
          type="button"
          data-testid="drop"
          title="As if the network were gone"
          disabled={place !== 'online'}
          onClick={() => {
            chat.drop();
            moves.current = true;
          }}
        >
          Drop connection
        </button>
        <button
          ref={reconnect}
          type="button"
          class={down ? 'primary' : undefined}
          data-testid="reconnect"
          title="With the last seq that you have"
          disabled={!down}
          onClick={() => {
            chat.reconnect();
            moves.current = true;
          }}
        >
          Reconnect
        </button>
        {chat.elsewhere && (
          <button
            type="button"
            data-testid="other-instance"
            disabled={place === 'closed'}
            title="Connect to another server, with the same last seq"
            onClick={() => chat.otherInstance()}
          >
            Other instance
          </button>
        )}
        <button
          type="button"
          data-testid="burst"
          title="A hundred messages at once: more than a user may send"
          disabled={burst !== undefined && !burst.over}
          onClick={() => chat.sendBurst()}
        >
          Burst 100
        </button>
        <button
          type="button"
          data-testid="slow-reader"
          title="Take one message a second, whatever comes"
          aria-pressed={chat.slow.value}
          onClick={() => chat.readSlowly(!chat.slow.value)}
        >
          Slow reader
        </button>
      </div>
      <p class="caption" role="status" data-testid="said">
        {said(chat)}
      </p>
    </section>
  );
}

function said(chat: Chat): string {
  const burst = chat.burst.value;
  const room = chat.room.value;
  if (chat.place.value === 'dropped') {
    return `Dropped. The others go on talking; you know the room up to #${room?.position.value}. Wait a little, then reconnect.`;
  }
  if (chat.place.value === 'closed') return `The server does not want this connection back: ${chat.reason.value}`;
  if (burst && !burst.over) return burstText(burst, chat.config.weighed);
  if (chat.slow.value) {
    return `You read one message a second; ${room?.waiting.value ?? 0} wait in order. Nobody else waits for you.`;
  }
  if (burst) return burstText(burst, chat.config.weighed);
  return 'Go on, break something: no message gets lost.';
}
