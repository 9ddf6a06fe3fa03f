import { useEffect, useRef, useState } from 'preact/hooks';
import { StickerIcon } from './icons';
import { STICKERS, Sticker } from './Sticker';

export function StickerPicker({ choose }: { choose: (index: number) => void }) {
  const [open, setOpen] = useState(false);
  const place = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    place.current?.querySelector<HTMLElement>('.choices button')?.focus();
    const away = (event: Event) => {
      if (!place.current?.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', away);
    return () => document.removeEventListener('pointerdown', away);
  }, [open]);
  const close = () => {
    setOpen(false);
    button.current?.focus();
  };
  return (
    <span
      ref={place}
      class="sticker-picker"
      onFocusOut={({ relatedTarget: next }) => {
        // Only when it goes somewhere: a pressed button takes no focus in Safari.
        if (next && !place.current?.contains(next as Node)) setOpen(false);
      }}
    >
      <button
        ref={button}
        type="button"
        class="icon-button"
        data-testid="sticker"
        aria-label="Stickers"
        title="Stickers"
        aria-expanded={open}
        onClick={() => setOpen(!open)}
      >
        <StickerIcon />
      </button>
      {open && (
        <fieldset
          class="choices"
          aria-label="Stickers"
          onKeyDown={(event) => {
            if (event.key === 'Escape') close();
          }}
        >
          {STICKERS.map(({ name }, index) => (
            <button
              key={name}
              type="button"
              data-testid="sticker-choice"
              data-index={index}
              aria-label={name}
              onClick={() => {
                choose(index);
                close();
              }}
            >
              <Sticker index={index} />
            </button>
          ))}
        </fieldset>
      )}
    </span>
  );
}
