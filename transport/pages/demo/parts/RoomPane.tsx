import { useState } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { typingText } from '../chat/words';
import { Composer } from './Composer';
import { Experiments } from './Experiments';
import { Lessons } from './Lessons';
import { MessageList } from './MessageList';
import { SeqStrip } from './SeqStrip';

export function RoomPane({ chat }: { chat: Chat }) {
  const [tools, setTools] = useState(false);
  const room = chat.room.value;
  if (!room) return <main class="pane room" />;
  const typing = room.typing.value.map((user) => chat.name(user));
  return (
    <main class={tools ? 'pane room with-tools' : 'pane room'} aria-labelledby="room-name">
      <div class="head">
        <h2 id="room-name">{room.id}</h2>
        <SeqStrip chat={chat} room={room} />
        <button type="button" class="tools" data-testid="tools" aria-expanded={tools} onClick={() => setTools(!tools)}>
          Try it
        </button>
      </div>
      {chat.refused.value.map((why) => (
        <p key={why} class="caption bad" role="alert" data-testid="refused">
          {why}.
        </p>
      ))}
      <Experiments chat={chat} />
      <Lessons chat={chat} />
      {room.trouble.value && (
        <p class="caption bad" role="alert">
          {room.trouble.value}
        </p>
      )}
      <MessageList key={`${room.id} ${chat.user.value}`} chat={chat} room={room} />
      <p class="typing" data-testid="typing" aria-live="polite">
        {typingText(typing)}
      </p>
      <Composer key={`to ${room.id}`} chat={chat} room={room} />
    </main>
  );
}
