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
    let top = element.scrollTop;
    // What has grown since is no reason to let go of the end, only who scrolls up is.
    const scrolled = () => {
      const near = element.scrollHeight - element.scrollTop - element.clientHeight < NEAR;
      if (near || element.scrollTop < top) stuck.current = near;
      top = element.scrollTop;
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
