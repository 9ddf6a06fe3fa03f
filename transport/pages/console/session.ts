// Who is logged in at this page.

import { signal } from '@preact/signals';
import type { Session } from './types';

/** Undefined until the server has answered, null when a key is needed. */
export const session = signal<Session | null | undefined>(undefined);
