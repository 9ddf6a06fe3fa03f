// The raw frames, as they go over the wire: one row an object, which opens to show the same object spread out.

import { endKeeper, find, make, timeElement } from './dom.js';

const MAX_ROWS = 300;
const arrows = { in: '↓', out: '↑', note: '•' };
const spoken = { in: 'received', out: 'sent', note: 'note' };

export class Frames {
  #list = find('frames-list');
  #end = endKeeper(this.#list);
  #pause = find('frames-pause');
  #paused = false;

  constructor() {
    this.#pause.onclick = () => {
      this.#paused = !this.#paused;
      this.#pause.setAttribute('aria-pressed', this.#paused);
    };
    find('frames-clear').onclick = () => this.#list.replaceChildren();
  }

  add(direction, text, place = '') {
    if (this.#paused) return;
    this.#list.append(this.#row(direction, text, place));
    if (this.#list.childElementCount > MAX_ROWS) this.#list.firstElementChild.remove();
    this.#end.grown();
  }

  goToEnd() {
    this.#end.go();
  }

  #row(direction, text, place) {
    const arrow = make('span', { className: 'arrow', 'aria-label': spoken[direction], role: 'img', textContent: arrows[direction] });
    if (direction === 'note') {
      return make('li', { className: 'note' }, arrow, timeElement(Date.now()), make('span', { className: 'raw', textContent: text }));
    }
    const object = JSON.parse(text);
    const { label, seq, failed } = about(object);
    const spread = make('pre', { tabIndex: 0 });
    const details = make('details', {
      ontoggle: () => {
        spread.textContent ||= JSON.stringify(object, null, 2);
      },
    },
    make('summary', {},
      arrow,
      make('span', { className: 'label', textContent: label }),
      make('span', { className: 'seq', textContent: seq === undefined ? '' : `#${seq}` }),
      make('span', { className: 'place', textContent: place, title: place && 'objects of one frame' }),
      make('span', { className: 'raw', textContent: text })),
    spread);
    const row = make('li', { className: direction }, details);
    row.classList.toggle('failed', Boolean(failed));
    return row;
  }
}

// about says what an object is, in a word, and which seq it is about.
function about({ op, event, id, ok, error, seq, after_seq: afterSeq }) {
  if (op) return { label: op, seq: seq ?? afterSeq };
  if (event) return { label: event, seq };
  if (error) return { label: `error ${error.code}`, failed: true };
  return { label: `ok ${id}`, seq: ok.seq ?? ok.max_seq };
}
