import { repeat } from './backoff';
import type { Group } from './group';
import { safely } from './reader';
import type { Message, Readers } from './types';

/**
 * Calls with who has read a message: as the server tells it now and on every later connection, and with those heard of
 * between. Who writes behind it has read it, too.
 */
export function watchReaders(
  group: Group,
  message: Pick<Message, 'seq' | 'from'>,
  connections: (online: () => void) => () => void,
  listener: (readers: Readers) => void,
): () => void {
  const over = new AbortController();
  const heard = new Set<string>();
  let told: Readers | undefined;
  const tell = (readers: Readers) => {
    const known = readers.users ?? (readers.read_count === 0 ? [] : undefined);
    const users = known && [...new Set([...known, ...heard])].sort();
    const now = { seq: message.seq, read_count: users?.length ?? readers.read_count, users };
    if (JSON.stringify(now) === JSON.stringify(told)) return;
    told = now;
    safely(() => listener(now));
  };
  const hear = (user: string) => {
    if (user === message.from) return; // his own message
    heard.add(user);
    if (told) tell(told);
  };
  const ask = async () => {
    try {
      const readers = await repeat(() => group.readers(message.seq), over.signal);
      if (!over.signal.aborted) tell(readers);
    } catch {
      // Recalled, or not for this user: there is nothing to tell.
    }
  };
  const ends = [
    connections(ask),
    group.on('read', ({ user, seq }) => seq >= message.seq && hear(user)),
    group.on('message', ({ from, seq, operator }) => seq > message.seq && operator === undefined && hear(from)),
    () => over.abort(),
  ];
  if (group.connected) void ask();
  return () => {
    for (const end of ends) end();
  };
}
