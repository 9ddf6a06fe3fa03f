// What the user wrote and the server has not accepted yet. The messages of a lane go one at a time, so that a refused
// one keeps its place before those behind it; lanes do not wait for each other. A retry has the same client_id:
// whatever happened to the first try, the message is stored once.

import { backoff, sleep } from './client.js';

const MAX_TRIES = 8;

export class Outbox {
  #client;
  #changed;
  #lanes = new Map(); // name → {queue, pumping}

  // changed is called with an entry whenever its state, tries, error or seq is another:
  //   waiting → sending → accepted (seq, duplicate) | failed (error) | waiting again (error, retryInMS)
  constructor(client, changed) {
    this.#client = client;
    this.#changed = changed;
  }

  get length() {
    let length = 0;
    for (const { queue } of this.#lanes.values()) length += queue.length;
    return length;
  }

  // add puts a message at the end of a lane; tag stays with the entry.
  add(group, text, { lane = group, tag } = {}) {
    this.#enqueue({
      clientID: randomID(), group, text, lane, tag,
      state: 'waiting', tries: 0, error: null, retryInMS: 0, seq: null, duplicate: false,
    });
  }

  retry(entry) {
    if (entry.state !== 'failed') return;
    Object.assign(entry, { state: 'waiting', tries: 0, error: null });
    this.#enqueue(entry);
  }

  // pump sends what waits; to be called when the connection is there again.
  pump() {
    for (const name of this.#lanes.keys()) this.#pumpLane(name);
  }

  #enqueue(entry) {
    if (!this.#lanes.has(entry.lane)) this.#lanes.set(entry.lane, { queue: [], pumping: false });
    this.#lanes.get(entry.lane).queue.push(entry);
    this.#changed(entry);
    this.#pumpLane(entry.lane);
  }

  async #pumpLane(name) {
    const lane = this.#lanes.get(name);
    if (lane.pumping) return;
    lane.pumping = true;
    while (lane.queue.length > 0 && this.#client.state === 'online') {
      await this.#send(lane.queue[0]);
      if (lane.queue[0].state !== 'waiting') lane.queue.shift();
    }
    lane.pumping = false;
    if (lane.queue.length === 0) this.#lanes.delete(name);
  }

  async #send(entry) {
    this.#set(entry, { state: 'sending', tries: entry.tries + 1 });
    try {
      const ok = await this.#client.request('send', {
        group: entry.group, body: [{ type: 'text', text: entry.text }], client_id: entry.clientID,
      });
      this.#set(entry, { state: 'accepted', error: null, seq: ok.seq, duplicate: ok.duplicate });
    } catch (error) {
      await this.#failed(entry, error);
    }
  }

  // failed waits before the next try: no less than the server says, and longer every time.
  async #failed(entry, error) {
    if (error.code === 'offline') {
      this.#set(entry, { state: 'waiting', error, retryInMS: 0 });
      return;
    }
    if (!error.retryable || entry.tries >= MAX_TRIES) {
      this.#set(entry, { state: 'failed', error });
      return;
    }
    const retryInMS = Math.max(error.retryAfterMS ?? 0, backoff(entry.tries - 1));
    this.#set(entry, { state: 'waiting', error, retryInMS });
    await sleep(retryInMS);
  }

  #set(entry, change) {
    Object.assign(entry, change);
    this.#changed(entry);
  }
}

// randomID also works where crypto.randomUUID does not: on pages that came over plain http from another machine.
function randomID() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
