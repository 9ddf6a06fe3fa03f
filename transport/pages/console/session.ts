// Who is logged in at this page.

import { effect, signal } from '@preact/signals';
import type { Session } from './types';

/** Undefined until the server has answered, null when a key is needed. */
export const session = signal<Session | null | undefined>(undefined);

const hint = 'hearth-console';

/** Whether somebody was logged in here: without it asking for the session would only make an error in the browser's log. */
export function wasHere(): boolean {
  return localStorage.getItem(hint) !== null;
}

/** Keeps the hint, never the key. Until the function it returns is called. */
export function rememberSession(): () => void {
  return effect(() => {
    if (session.value) localStorage.setItem(hint, session.value.key);
    if (session.value === null) localStorage.removeItem(hint);
  });
}
