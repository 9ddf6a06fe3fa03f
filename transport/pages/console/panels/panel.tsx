// What panels are made of.

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface PanelProps {
  title: ComponentChildren;
  /** Beside the title: a choice, a number. */
  aside?: ComponentChildren;
  name: string;
  children: ComponentChildren;
}

export function Panel({ title, aside, name, children }: PanelProps) {
  const id = useId();
  return (
    <section class={`panel ${name}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside}
      </header>
      {children}
    </section>
  );
}

interface FigureProps {
  name: string;
  testid?: string;
  /** What the name stands for, where operators need not know it. */
  about?: string;
  /** For what is longer than a number. */
  broad?: boolean;
  children: ComponentChildren;
}

/** One number with its name. */
export function Figure({ name, testid, about, broad, children }: FigureProps) {
  return (
    <div class={broad ? 'figure broad' : 'figure'}>
      <dt>{about ? <abbr title={about}>{name}</abbr> : name}</dt>
      <dd data-testid={testid}>{children}</dd>
    </div>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export function Loading() {
  return (
    <p class="empty loading" role="status">
      Loading …
    </p>
  );
}

/** What went wrong; said at once. */
export function Failure({ children }: { children: ComponentChildren }) {
  return (
    <p class="failure" role="alert">
      {children}
    </p>
  );
}
