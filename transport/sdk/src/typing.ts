import type { Group } from './group';

const KIND = 'typing';
const AGAIN_MS = 3000; // between signals of one who goes on typing
const OVER_MS = 6000; // after the last signal

/** Who types: signals of the kind `typing`. */
export class Typing {
  readonly #group: Group;
  #quietUntil = 0;

  constructor(group: Group) {
    this.#group = group;
  }

  typed(): void {
    const now = Date.now();
    if (now < this.#quietUntil || !this.#group.connected) return;
    this.#quietUntil = now + AGAIN_MS;
    this.#group.signal(KIND).catch(() => {}); // the next key tells again
  }

  /** The others learn by the message that the user is done. */
  sent(): void {
    this.#quietUntil = 0;
  }

  on(listener: (users: string[]) => void): () => void {
    const typing = new Map<string, ReturnType<typeof setTimeout>>();
    const tell = () => listener([...typing.keys()]);
    const done = (user: string) => {
      clearTimeout(typing.get(user));
      if (typing.delete(user)) tell();
    };
    const ends = [
      this.#group.on('signal', ({ kind, from }) => {
        if (kind !== KIND || from === this.#group.user) return; // this user's other devices
        const known = typing.has(from);
        clearTimeout(typing.get(from));
        typing.set(
          from,
          setTimeout(() => done(from), OVER_MS),
        );
        if (!known) tell();
      }),
      this.#group.on('message', ({ from }) => done(from)),
    ];
    return () => {
      for (const end of ends) end();
      for (const timer of typing.values()) clearTimeout(timer);
    };
  }
}
