import { useEffect, useState } from 'preact/hooks';
import type { Chat, Seen } from '../chat/chat';

const LESSONS: { what: keyof Seen; title: string; text: string }[] = [
  {
    what: 'seq',
    title: 'seq',
    text: 'Each message of a room gets the next number. Say something and watch yours.',
  },
  {
    what: 'catchUp',
    title: 'catch-up',
    text: 'The last seq is all a client remembers. Press Drop, wait, Reconnect: one request brings the rest.',
  },
  {
    what: 'heat',
    title: 'heat',
    text: 'The hottest room is on top. Watch the board: it moves as people talk.',
  },
];

/** What there is to see, for who is here for the first time; what was seen gets its tick. */
export function Lessons({ chat }: { chat: Chat }) {
  const [open, setOpen] = useState(() => matchMedia('(min-height: 700px) and (min-width: 1200px)').matches);
  const seen = chat.seen.value;
  const count = LESSONS.filter(({ what }) => seen[what]).length;
  const all = count === LESSONS.length;
  useEffect(() => {
    if (all) setOpen(false);
  }, [all]);
  return (
    <details class="lessons" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>New here? Three things to see{count > 0 && <span class="done"> · {count} seen</span>}</summary>
      <ol>
        {LESSONS.map(({ what, title, text }) => (
          <li key={what} class={seen[what] ? 'seen' : undefined}>
            <b>
              {title}
              {seen[what] && <span class="tick"> ✓</span>}
            </b>{' '}
            {text}
          </li>
        ))}
      </ol>
    </details>
  );
}
