import { useState } from 'preact/hooks';
import { type Line, spread } from '../chat/frames';

const ARROWS = { in: '←', out: '→', note: '•' };
const SPOKEN = { in: 'received', out: 'sent', note: 'note' };

export function FrameRow({ line }: { line: Line }) {
  const [open, setOpen] = useState(false);
  const { direction, tone, label, seq, text, meaning, lesson } = line;
  if (tone === 'note') return <li class="line note">{text}</li>;
  return (
    <li class={`line ${direction} ${tone}`}>
      <details
        data-testid="frame"
        data-direction={direction}
        data-label={label}
        onToggle={(event) => setOpen(event.currentTarget.open)}
      >
        <summary>
          <span class="arrow" role="img" aria-label={SPOKEN[direction]}>
            {ARROWS[direction]}
          </span>
          <span class="label">{label}</span>
          {seq !== undefined && <span class="seq">{seq}</span>}
          <code class="raw">{text}</code>
        </summary>
        {open && !lesson && <p class="meaning">{meaning}</p>}
        {open && <pre>{spread(text)}</pre>}
      </details>
      {lesson && <p class="meaning">{meaning}</p>}
    </li>
  );
}
