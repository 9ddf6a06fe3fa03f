import { useRef, useState } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { concerns } from '../chat/frames';
import { FrameRow } from './FrameRow';
import { useStickToEnd } from './stick';

/** What goes over the wire, a line an object. */
export function Frames({ chat }: { chat: Chat }) {
  const list = useRef<HTMLElement>(null);
  const [onlyRoom, setOnlyRoom] = useState(true);
  const room = chat.current.value;
  const lines = chat.lines.value.filter((line) => !onlyRoom || concerns(line, room));
  const { away, toEnd } = useStickToEnd(list, lines.at(-1)?.key);
  return (
    <aside class="pane frames" aria-labelledby="frames-title">
      <div class="head">
        <h2 id="frames-title">Raw frames</h2>
        <button
          type="button"
          aria-pressed={chat.paused.value}
          onClick={() => {
            chat.paused.value = !chat.paused.value;
          }}
        >
          Pause
        </button>
        <button type="button" onClick={() => chat.clearFrames()}>
          Clear
        </button>
      </div>
      <p class="caption">
        The whole protocol: JSON over one WebSocket. <span class="out">→</span> you ask, <span class="in">←</span> the
        server answers or tells. Open a line to see what it means.
      </p>
      <label class="only">
        <input type="checkbox" checked={onlyRoom} onChange={(event) => setOnlyRoom(event.currentTarget.checked)} />
        only this room
      </label>
      <div class="log-frame">
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: to scroll it by keyboard */}
        <section ref={list} class="log" tabIndex={0} aria-label="Frames">
          <ol>
            {lines.map((line) => (
              <FrameRow key={line.key} line={line} />
            ))}
          </ol>
        </section>
        {away && (
          <button type="button" class="to-end" onClick={toEnd}>
            ↓ newest
          </button>
        )}
      </div>
    </aside>
  );
}
