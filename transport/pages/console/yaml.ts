// The configuration as lines: enough of YAML to tell names, values and comments apart, and to find a key.

export interface Line {
  /** Its dotted key, "redis.addrs"; that of the key before for lines without one. */
  key: string;
  indent: string;
  name?: string;
  value?: string;
  comment?: string;
}

export function lines(yaml: string): Line[] {
  const path: { indent: number; name: string }[] = [];
  return yaml
    .replace(/\n$/, '')
    .split('\n')
    .map((text) => {
      const indent = text.match(/^ */)![0];
      const rest = text.slice(indent.length);
      if (rest.startsWith('#')) return { key: keyOf(path), indent, comment: rest };
      const pair = rest.match(/^([\w-]+):(?:\s+(.*))?$/);
      if (!pair) return { key: keyOf(path), indent, value: rest };
      while (path.length && path.at(-1)!.indent >= indent.length) path.pop();
      path.push({ indent: indent.length, name: pair[1]! });
      const [value = '', comment] = (pair[2] ?? '').split(/\s+(?=#\s)/, 2);
      return { key: keyOf(path), indent, name: pair[1]!, value, ...(comment && { comment }) };
    });
}

/** The lines whose key or value has the words, with the sections above them. All of them without words. */
export function find(all: readonly Line[], words: string): Line[] {
  const wanted = words.trim().toLowerCase();
  if (!wanted) return [...all];
  const hits = all.filter((l) => l.key.toLowerCase().includes(wanted) || l.value?.toLowerCase().includes(wanted));
  return all.filter((l) => hits.includes(l) || hits.some((h) => l.name && h.key.startsWith(`${l.key}.`)));
}

function keyOf(path: { name: string }[]): string {
  return path.map((p) => p.name).join('.');
}
