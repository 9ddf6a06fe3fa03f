import { useState } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { Board } from './Board';
import { Frames } from './Frames';
import { RoomPane } from './RoomPane';
import { TopBar } from './TopBar';

export type View = 'board' | 'room' | 'frames';

const TABS: [View, string][] = [
  ['board', 'Hot rooms'],
  ['room', 'Talk'],
  ['frames', 'Frames'],
];

/** Three panes side by side; on narrow screens one of them, and tabs. */
export function App({ chat }: { chat: Chat }) {
  const [view, setView] = useState<View>('room');
  const enter = (room: string) => {
    chat.enter(room);
    setView('room');
  };
  return (
    <div class="app" data-view={view}>
      <TopBar chat={chat} />
      <div class="panes">
        <Board chat={chat} enter={enter} />
        <RoomPane chat={chat} />
        <Frames chat={chat} />
      </div>
      <nav class="tabs" aria-label="Parts of the page">
        {TABS.map(([name, label]) => (
          <button
            key={name}
            type="button"
            data-testid={`tab-${name}`}
            aria-current={view === name ? 'page' : undefined}
            onClick={() => setView(name)}
          >
            {label}
          </button>
        ))}
      </nav>
    </div>
  );
}
