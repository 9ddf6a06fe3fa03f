import type { Message } from 'hearth-chat';
import { useState } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { now } from '../chat/now';
import type { Room } from '../chat/room';
import { kindOf } from '../chat/timeline';
import { receiptText } from '../chat/words';
import { Avatar } from './Avatar';
import { Body } from './Body';

const RECALL_MS = 2 * 60_000;

interface Props {
  chat: Chat;
  room: Room;
  message: Message;
  missed: boolean;
  /** The one before is by the same person. */
  follows: boolean;
}

export function MessageRow({ chat, room, message, missed, follows }: Props) {
  const me = chat.user.value;
  const mine = message.from === me;
  const mentioned = message.mentions?.some((user) => user === me || user === '*');
  const name = chat.name(message.from);
  const classes = ['message', mine && 'mine', missed && 'missed', mentioned && 'mentioned', follows && 'follows'];
  return (
    <li
      class={classes.filter(Boolean).join(' ')}
      data-testid="message"
      data-seq={message.seq}
      data-kind={kindOf(message)}
    >
      <span class="seq" title={missed ? 'caught up' : undefined}>
        #{message.seq}
      </span>
      {!follows && <Avatar name={name} />}
      <div class="said">
        {!follows && (
          <p class="by">
            <button
              type="button"
              class="from"
              aria-label={mine ? name : `Mention ${name}`}
              disabled={mine}
              tabIndex={-1} // by keyboard it is quicker to write @name
              onClick={() => room.mention(name)}
            >
              {name}
            </button>
            {mine && <span class="you">you</span>}
            <time dateTime={new Date(message.time_ms).toISOString()}>{clock(message.time_ms)}</time>
          </p>
        )}
        {message.body === undefined ? (
          <p class="tombstone">taken back by {chat.name(message.recalled_by ?? 'somebody')} – the seq stays</p>
        ) : (
          <Body body={message.body} />
        )}
        {mine && message.body !== undefined && <Foot chat={chat} room={room} message={message} />}
      </div>
    </li>
  );
}

/** Under the user's own messages: who has read it, and taking it back. */
function Foot({ chat, room, message }: { chat: Chat; room: Room; message: Message }) {
  const [refused, setRefused] = useState('');
  const readers = room.readersOf(message).map((user) => chat.name(user));
  const young = now.value - message.time_ms < RECALL_MS;
  const takeBack = async (button: HTMLElement) => {
    const log = button.closest<HTMLElement>('[role=log]');
    try {
      await room.recall(message.seq);
      // The button goes with the words, and would take the focus with it.
      const { activeElement: at, body } = document;
      if (at === button || at === body) log?.focus({ preventScroll: true });
    } catch (error) {
      setRefused((error as Error).message);
    }
  };
  return (
    <p class="foot">
      <span data-testid="receipt" data-readers={readers.length} title={readers.join(', ')}>
        {receiptText(readers)}
      </span>
      {young && (
        <button
          type="button"
          class="link"
          data-testid="recall"
          aria-label={`Take back message ${message.seq}`}
          onClick={(event) => void takeBack(event.currentTarget)}
        >
          take back
        </button>
      )}
      {refused && <span class="bad">{refused}</span>}
    </p>
  );
}

function clock(ms: number): string {
  return new Date(ms).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit' });
}
