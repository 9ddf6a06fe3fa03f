import type { RefObject } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

const GLIDE_MS = 600;

/** Lets the rows of a list glide to their new places whenever the order changes; not for who prefers less motion. */
export function useGlide(list: RefObject<HTMLElement | null>, order: string): void {
  const places = useRef(new Map<string, number>());
  useLayoutEffect(() => {
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    const now = new Map<string, number>();
    for (const row of list.current?.querySelectorAll<HTMLElement>('[data-key]') ?? []) {
      const key = row.dataset.key!;
      now.set(key, row.offsetTop);
      const before = places.current.get(key);
      if (before === undefined || before === row.offsetTop || still) continue;
      const moved = before > row.offsetTop ? 'rising' : 'sinking';
      row.animate([{ transform: `translateY(${before - row.offsetTop}px)` }, { transform: 'none' }], {
        duration: GLIDE_MS,
        easing: 'ease-in-out',
      });
      row.classList.add(moved);
      setTimeout(() => row.classList.remove(moved), 2 * GLIDE_MS);
    }
    places.current = now;
  }, [order]);
}
