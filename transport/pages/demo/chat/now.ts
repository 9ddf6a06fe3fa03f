import { signal } from '@preact/signals';

const TICK_MS = 5000;

/** The time, a little late: for what ends by itself. */
export const now = signal(Date.now());

setInterval(() => {
  now.value = Date.now();
}, TICK_MS);
