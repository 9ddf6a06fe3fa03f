// Something that is asked for, again and again while it is looked at.

import { useSignal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { ApiError, isGone } from './api';

export interface Loaded<T> {
  data?: T;
  /** Beside data: it is the last known. */
  error?: ApiError;
}

/** Loads on each change of the key, then every so often (0: once); repeats only while the page is seen. */
export function useLoaded<T>(key: string | undefined, load: () => Promise<T>, everyMS = 0) {
  const loaded = useSignal<Loaded<T>>({});
  const again = useSignal(0);
  useEffect(() => {
    let live = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    async function ask(repeated = true) {
      if (!(repeated && document.hidden)) {
        try {
          const data = await load();
          if (live) loaded.value = { data };
        } catch (e) {
          const error = e instanceof ApiError ? e : new ApiError(0, 'internal', String(e));
          if (live) loaded.value = isGone(error) ? { error } : { ...loaded.peek(), error };
        }
      }
      if (live && everyMS) timer = setTimeout(ask, everyMS);
    }
    if (key !== undefined) ask(false);
    return () => {
      live = false;
      clearTimeout(timer);
    };
  }, [key, everyMS, again.value]);
  useEffect(() => {
    return () => {
      loaded.value = {};
    };
  }, [key]);
  return { loaded, reload: () => again.value++ };
}
