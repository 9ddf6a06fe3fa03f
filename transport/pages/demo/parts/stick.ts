import type { RefObject } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';

const NEAR = 48;

/** Keeps a list that grows at its end, unless the reader has scrolled away from it. */
export function useStickToEnd(
  list: RefObject<HTMLElement | null>,
  grown: unknown,
): { away: boolean; toEnd: () => void } {
  const [away, setAway] = useState(false);
  const stuck = useRef(true);
  const toEnd = () => {
    const element = list.current;
    if (element) element.scrollTop = element.scrollHeight;
  };
  useLayoutEffect(() => {
    if (stuck.current) toEnd();
  }, [grown]);
  useLayoutEffect(() => {
    const element = list.current;
    if (!element) return;
    const scrolled = () => {
      stuck.current = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
      setAway(!stuck.current);
    };
    // Pictures that come later, panes that are shown or change their size.
    const sizes = new ResizeObserver(() => stuck.current && toEnd());
    sizes.observe(element);
    if (element.firstElementChild) sizes.observe(element.firstElementChild);
    element.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      sizes.disconnect();
      element.removeEventListener('scroll', scrolled);
    };
  }, []);
  return { away, toEnd };
}
