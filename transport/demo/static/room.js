// A room on the page: its messages and holes in seq order, and behind them what is not accepted yet.

import { colour, make, timeElement } from './dom.js';

const MAX_ROWS = 500;

export class Room {
  maxSeq = 0; // the highest seq on the page
  #me;
  #scroller;
  #end;
  #rows = []; // {seq, node}, ascending; a hole stands at its first seq
  #pending = new Map(); // client_id → node
  #messages = make('ol', { className: 'messages' });
  #unsent = make('ol', { className: 'messages unsent', 'aria-label': 'Not accepted yet' });
  #retry;

  // scroller shows the room when show is called, and end is its endKeeper; retry is called with the entry of a failed
  // message.
  constructor({ scroller, end, me, retry }) {
    this.#scroller = scroller;
    this.#end = end;
    this.#me = me;
    this.#retry = retry;
  }

  show() {
    this.#scroller.replaceChildren(this.#messages, this.#unsent);
    this.#end.go();
  }

  get firstSeq() {
    return this.#rows[0]?.seq ?? null;
  }

  message(message) {
    const { seq, client_id: clientID, from } = message;
    if (from === this.#me && clientID) this.#settle(clientID);
    this.#put(seq, this.#messageRow(message));
    this.maxSeq = Math.max(this.maxSeq, seq);
  }

  hole({ from, to, reason }) {
    const range = from === to ? `#${from}` : `#${from} – #${to}`;
    const why = { lost: 'lost in a failure', expired: 'too old, cleared away' }[reason] ?? 'never given to a message';
    this.#put(from, make('li', { className: 'hole' },
      make('span', { className: 'seq', textContent: range }),
      make('span', { textContent: `a hole: ${why}` })));
  }

  recalled({ seq, by }) {
    const row = this.#rows.find((r) => r.seq === seq);
    const text = row?.node.querySelector('.text');
    if (!text) return;
    row.node.classList.add('tombstone');
    text.textContent = `recalled by ${by}`;
  }

  // entry shows a message of the outbox, until the real one comes with its seq.
  entry(entry) {
    const { clientID, state } = entry;
    if (state === 'accepted' && entry.seq <= this.maxSeq) { // its push was faster than the reply
      this.#settle(clientID);
      return;
    }
    const node = this.#entryRow(entry);
    const before = this.#pending.get(clientID);
    if (before) before.replaceWith(node);
    else this.#unsent.append(node);
    this.#pending.set(clientID, node);
    this.#end.grown();
  }

  // older puts a page in front, and leaves the reader where he is.
  older({ messages, holes }) {
    this.#end.leave();
    const before = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    for (const hole of holes ?? []) this.hole(hole);
    for (const message of messages) this.message(message);
    this.#scroller.scrollTop = this.#scroller.scrollHeight - before;
  }

  #settle(clientID) {
    this.#pending.get(clientID)?.remove();
    this.#pending.delete(clientID);
  }

  // put keeps the order by seq; nearly always that is the end.
  #put(seq, node) {
    let i = this.#rows.length;
    while (i > 0 && this.#rows[i - 1].seq > seq) i--;
    if (i > 0 && this.#rows[i - 1].seq === seq) {
      this.#rows[i - 1].node.replaceWith(node);
      this.#rows[i - 1] = { seq, node };
      return;
    }
    this.#messages.insertBefore(node, this.#rows[i]?.node ?? null);
    this.#rows.splice(i, 0, { seq, node });
    if (this.#rows.length > MAX_ROWS && i === this.#rows.length - 1) this.#rows.shift().node.remove();
    this.#end.grown();
  }

  #messageRow(message) {
    const { seq, from, time_ms: timeMS, body, recalled_by: recalledBy } = message;
    const text = body ? body.map(textOf).join(' ') : `recalled by ${recalledBy}`;
    const row = make('li', { className: 'message' },
      make('span', { className: 'seq', textContent: `#${seq}` }),
      make('span', { className: 'from', textContent: from }),
      timeElement(timeMS),
      make('span', { className: 'text', textContent: text }));
    row.classList.toggle('mine', from === this.#me);
    row.classList.toggle('tombstone', !body);
    return colour(row, from);
  }

  #entryRow(entry) {
    const row = make('li', { className: `message mine ${entry.state}` },
      make('span', { className: 'seq', textContent: entry.seq ? `#${entry.seq}` : '…' }),
      make('span', { className: 'from', textContent: this.#me }),
      make('span', { className: 'state', textContent: stateOf(entry) }),
      make('span', { className: 'text', textContent: entry.text }));
    if (entry.state === 'failed') {
      row.append(make('button', { type: 'button', textContent: 'Retry', onclick: () => this.#retry(entry) }));
    }
    return colour(row, this.#me);
  }
}

function textOf(element) {
  switch (element.type) {
    case 'text': return element.text;
    case 'custom': return `[custom] ${element.desc ?? ''}`;
    case 'location': return `[location] ${element.title ?? `${element.latitude}, ${element.longitude}`}`;
    default: return `[${element.type}] ${element.name ?? element.url ?? ''}`;
  }
}

function stateOf({ state, error, retryInMS, tries }) {
  const code = error?.code;
  switch (state) {
    case 'sending': return tries > 1 ? `sending, try ${tries}` : 'sending';
    case 'accepted': return 'accepted';
    case 'failed': return `failed: ${code} – ${error.message}`;
    default: return code && code !== 'offline' ? `${code}, again in ${retryInMS} ms` : 'waiting';
  }
}
