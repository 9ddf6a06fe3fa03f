// The board of hot rooms: asks every two seconds, and lets the rows glide to their new places.

import { find, make } from './dom.js';

const POLL_MS = 2000;
const SHOW_MOVE_MS = 6000;
const LIMIT = 20;

export class Board {
  #config;
  #source; // () → {base, token, current}
  #choose;
  #rows = new Map(); // room → {item, button, parts, rank, movedAt, move}
  #hot = [];
  #polling = false;

  constructor(config, source, choose) {
    this.#config = config;
    this.#source = source;
    this.#choose = choose;
    const minutes = Math.round(config.window_ms / 60_000);
    find('board-hint').textContent = `Heat: how many people spoke within ${minutes} min.`;
  }

  start() {
    this.render();
    this.poll();
    setInterval(() => this.poll(), POLL_MS);
    document.addEventListener('visibilitychange', () => this.poll());
  }

  async poll() {
    const { base, token } = this.#source();
    if (this.#polling || document.hidden || !token) return;
    this.#polling = true;
    try {
      const response = await fetch(`${base}/v1/groups/hot?limit=${LIMIT}`, {
        headers: { Authorization: `Bearer ${token}` }, cache: 'no-store', signal: AbortSignal.timeout(5000),
      });
      if (!response.ok) throw new Error(`status ${response.status}`);
      this.#hot = (await response.json()).groups;
      find('board-state').textContent = '';
      this.render();
    } catch (error) {
      find('board-state').textContent = `The board cannot be asked (${error.message}).`;
    } finally {
      this.#polling = false;
    }
  }

  render() {
    const { current } = this.#source();
    const hot = new Set(this.#hot.map(({ group }) => group));
    const quiet = [...new Set([...this.#config.rooms, current])].filter((room) => !hot.has(room));
    const hottest = Math.max(1, ...this.#hot.map(({ heat }) => heat));
    const list = find('board');
    const before = this.#places();
    const rows = [
      ...this.#hot.map((entry) => this.#row(entry.group, entry)),
      ...quiet.map((room) => this.#row(room, null)),
    ];
    for (const [room, row] of this.#rows) {
      if (rows.includes(row)) continue;
      row.item.remove();
      this.#rows.delete(room);
    }
    rows.forEach((row, i) => {
      this.#fill(row, hottest, current);
      // Moving an element takes the focus from it: touch only what stands in another place.
      if (list.children[i] !== row.item) list.insertBefore(row.item, list.children[i] ?? null);
    });
    this.#glide(before);
  }

  #row(room, entry) {
    let row = this.#rows.get(room);
    if (!row) {
      row = this.#newRow(room);
      this.#rows.set(room, row);
    }
    const rank = entry?.rank ?? null;
    if (rank !== null && row.rank !== null && rank !== row.rank) {
      row.move = row.rank - rank;
      row.movedAt = performance.now();
    }
    row.rank = rank;
    row.entry = entry;
    return row;
  }

  #newRow(room) {
    const parts = {};
    for (const name of ['rank', 'name', 'move', 'heat', 'online']) parts[name] = make('span', { className: name });
    parts.bar = make('span', { className: 'bar', 'aria-hidden': 'true' });
    const button = make('button', { type: 'button', onclick: () => this.#choose(room) }, ...Object.values(parts));
    return { room, parts, button, item: make('li', {}, button), rank: null, entry: null, move: 0, movedAt: -Infinity };
  }

  #fill({ room, parts, button, entry, move, movedAt }, hottest, current) {
    const moved = performance.now() - movedAt < SHOW_MOVE_MS ? move : 0;
    const name = entry?.name || room;
    parts.rank.textContent = entry?.rank ?? '·';
    parts.name.textContent = name;
    parts.move.textContent = moved > 0 ? `▲${moved}` : moved < 0 ? `▼${-moved}` : '';
    parts.move.dataset.way = Math.sign(moved);
    parts.heat.textContent = entry?.heat ?? 'quiet';
    parts.online.textContent = entry?.online ? `${entry.online} here` : '';
    parts.bar.style.inlineSize = `${entry ? (100 * entry.heat) / hottest : 0}%`;
    button.classList.toggle('quiet', !entry);
    if (room === current) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
    button.setAttribute('aria-label', [
      entry ? `${name}, rank ${entry.rank}, heat ${entry.heat}, ${entry.online ?? 0} here` : `${name}, quiet`,
      moved ? `moved ${moved > 0 ? 'up' : 'down'} ${Math.abs(moved)}` : '',
    ].filter(Boolean).join(', '));
  }

  #places() {
    return new Map(Array.from(this.#rows.values(), ({ item }) => [item, item.offsetTop]));
  }

  #glide(before) {
    if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
    for (const { item } of this.#rows.values()) {
      const from = before.get(item);
      if (from === undefined) {
        item.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 400 });
      } else if (from !== item.offsetTop) {
        const moved = from - item.offsetTop;
        item.animate([{ transform: `translateY(${moved}px)` }, { transform: 'none' }], { duration: 450, easing: 'ease-in-out' });
      }
    }
  }
}
