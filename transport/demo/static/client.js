// The hearth protocol, version 1, as a browser speaks it: one connection that comes back by itself, requests with
// their answers, and feeds that hand over each group's messages in seq order, whatever happens to the connection.

const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 15_000;
const ANSWER_TIMEOUT_MS = 10_000;
const FIRST_PAGE = 50; // messages shown on entering a room
const PAGE = 200; // messages per catch-up request, the most the protocol allows

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// backoff grows with the attempts and is jittered, so that a thousand clients do not come back in the same moment.
export function backoff(attempt) {
  const ceiling = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** attempt);
  return Math.round(ceiling * (0.5 + Math.random() / 2));
}

// RequestError is the error of a reply, or one of the client's own: offline, timeout.
export class RequestError extends Error {
  constructor({ code, message, retryable = false, retry_after_ms: retryAfterMS }) {
    super(message);
    Object.assign(this, { code, retryable, retryAfterMS });
  }
}

// Client.state is one of
//   offline     nobody asked for a connection
//   connecting  until the server's welcome
//   online
//   waiting     lost; comes back at the time told with the state
//   refused     closed with 4500…4999, or no token to be had: comes back only when asked to
export class Client {
  state = 'offline';
  welcome = null;
  #base;
  #token;
  #on;
  #feeds = new Map();
  #requests = new Map();
  #nextID = 1;
  #socket = null;
  #turn = 0; // raised whenever a socket is given up: what it still says is not heard
  #attempt = 0;
  #goodbye = null;
  #retryTimer;
  #heartbeat;

  // token is an async function for a fresh token. on has the callbacks
  //   state(client, {code, reason, retryInMS})
  //   frame(direction, text, place)      direction in, out or note; place "2/5" of the frame's objects
  //   message(message), hole({group, from, to, reason?}), recall({group, seq, by, time_ms})
  //   joined(group, {head, missed, pages, ms})   the feed is live (again)
  //   refused(group, error)                      the feed is not
  constructor(base, token, on) {
    this.#base = base;
    this.#token = token;
    this.#on = on;
  }

  get base() {
    return this.#base;
  }

  connect() {
    this.#giveUp();
    this.#attempt = 0;
    this.#open();
  }

  // disconnect is what a tunnel does to a phone: the server is told nothing but the close.
  disconnect() {
    this.#giveUp();
    this.#become('offline');
  }

  // moveTo goes on at another instance. The cursors are the client's, so nothing is missed on the way.
  moveTo(base) {
    this.#base = base;
    this.connect();
  }

  // follow hands over the group's messages from now on: after the last one it knows, or else the newest page first.
  follow(group) {
    let feed = this.#feeds.get(group);
    if (!feed) {
      feed = new Feed(group, this, this.#on);
      this.#feeds.set(group, feed);
    }
    feed.followed = true;
    if (this.state === 'online') feed.join();
  }

  // unfollow keeps the cursor: following again catches up.
  unfollow(group) {
    const feed = this.#feeds.get(group);
    if (!feed?.followed) return;
    feed.followed = false;
    feed.pause();
    if (this.state === 'online') this.request('unsubscribe', { group }).catch(() => {});
  }

  lastSeq(group) {
    return this.#feeds.get(group)?.last ?? null;
  }

  // request resolves with the reply's ok and rejects with a RequestError.
  request(op, fields = {}) {
    if (this.state !== 'online') return Promise.reject(offline());
    const id = this.#nextID++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new RequestError({ code: 'timeout', message: 'no answer', retryable: true }));
      }, ANSWER_TIMEOUT_MS);
      this.#requests.set(id, { resolve, reject, timer });
      const text = JSON.stringify({ id, op, ...fields });
      this.#socket.send(text);
      this.#on.frame('out', op === 'refresh' ? JSON.stringify({ id, op, token: '***' }) : text);
    });
  }

  async #open() {
    const turn = this.#turn;
    this.#become('connecting');
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      if (turn !== this.#turn) return;
      if (error.retryable) this.#retryIn(backoff(this.#attempt++), { reason: error.message });
      else this.#become('refused', { reason: error.message });
      return;
    }
    if (turn !== this.#turn) return;
    const url = `${this.#base.replace('http', 'ws')}/v1/ws`;
    this.#on.frame('note', `connect ${url}`);
    const socket = new WebSocket(url, ['hearth.v1', `hearth.token.${token}`]);
    this.#socket = socket;
    socket.onmessage = ({ data }) => turn === this.#turn && this.#receive(data);
    socket.onclose = ({ code, reason }) => turn === this.#turn && this.#lost(code, reason);
  }

  // giveUp forgets the socket at once: the close of a dead network may take minutes to be noticed.
  #giveUp() {
    this.#turn++;
    clearTimeout(this.#retryTimer);
    clearInterval(this.#heartbeat);
    this.#goodbye = null;
    this.welcome = null;
    if (this.#socket) {
      this.#socket.close();
      this.#socket = null;
      this.#on.frame('note', 'connection closed here');
    }
    this.state = 'offline'; // so that whoever is woken below does not write
    for (const { reject, timer } of this.#requests.values()) {
      clearTimeout(timer);
      reject(offline());
    }
    this.#requests.clear();
    for (const feed of this.#feeds.values()) feed.pause();
  }

  // lost follows the rule of the close codes: 4500…4999 never reconnect, everything else does, and no sooner than the
  // server said.
  #lost(socketCode, socketReason) {
    const code = this.#goodbye?.code ?? socketCode;
    const reason = this.#goodbye?.reason || socketReason || (code === 1006 ? 'connection lost or refused' : '');
    const retryInMS = this.#goodbye?.reconnect_after_ms ?? backoff(this.#attempt);
    this.#socket = null;
    this.#on.frame('note', `closed ${code} ${reason}`);
    this.#giveUp();
    this.#attempt++;
    if (code >= 4500 && code <= 4999) this.#become('refused', { code, reason });
    else this.#retryIn(retryInMS, { code, reason });
  }

  #retryIn(ms, why) {
    this.#retryTimer = setTimeout(() => this.#open(), ms);
    this.#become('waiting', { ...why, retryInMS: ms });
  }

  #become(state, details = {}) {
    this.state = state;
    this.#on.state(this, details);
  }

  #receive(frame) {
    const turn = this.#turn;
    const objects = frame.split('\n').filter((line) => line.trim());
    objects.forEach((text, i) => {
      if (turn !== this.#turn) return;
      this.#on.frame('in', text, objects.length > 1 ? `${i + 1}/${objects.length}` : '');
      const object = JSON.parse(text);
      if (object.event) this.#event(object);
      else this.#reply(object);
    });
  }

  #reply({ id, ok, error }) {
    const request = this.#requests.get(id);
    if (!request) return; // answered too late
    this.#requests.delete(id);
    clearTimeout(request.timer);
    if (error) request.reject(new RequestError(error));
    else request.resolve(ok);
  }

  #event(event) {
    switch (event.event) {
      case 'welcome':
        this.#welcomed(event);
        break;
      case 'message':
        this.#feeds.get(event.group)?.push(event);
        break;
      case 'recall':
        this.#on.recall(event);
        break;
      case 'resync':
        for (const { group, after_seq: afterSeq } of event.groups) this.#feeds.get(group)?.resync(afterSeq);
        break;
      case 'token_expiring':
        this.#refresh();
        break;
      case 'goodbye':
        this.#goodbye = event;
        break;
      // Events this client does not know are none of its business.
    }
  }

  #welcomed(welcome) {
    this.welcome = welcome;
    this.#attempt = 0;
    this.#heartbeat = setInterval(() => this.#beat(), welcome.ping_interval_ms);
    this.state = 'online';
    for (const feed of this.#feeds.values()) if (feed.followed) feed.join();
    this.#become('online'); // after the joins: what was missed is asked for before what is unsent goes out
  }

  // A page cannot see the server's pings, so it asks. No answer means that the network is gone without a word.
  async #beat() {
    const turn = this.#turn;
    try {
      await this.request('ping');
    } catch (error) {
      if (error.code === 'timeout' && turn === this.#turn) {
        this.#giveUp();
        this.#retryIn(backoff(this.#attempt++), { reason: 'no answer to ping' });
      }
    }
  }

  async #refresh() {
    try {
      await this.request('refresh', { token: await this.#token() });
    } catch {
      // The server will close with 4002, and the next connection asks for a token again.
    }
  }
}

function offline() {
  return new RequestError({ code: 'offline', message: 'not connected', retryable: true });
}

// Feed is one group. Everything up to last has been handed over, or explained by a hole; while a join is on its way,
// pushes wait behind its pages.
class Feed {
  followed = false;
  last = null;
  #group;
  #client;
  #on;
  #live = false;
  #turn = 0; // raised by every join and pause: an older one's answers no longer count
  #waiting = [];

  constructor(group, client, on) {
    this.#group = group;
    this.#client = client;
    this.#on = on;
  }

  pause() {
    this.#turn++;
    this.#live = false;
    this.#waiting = [];
  }

  async join() {
    this.pause();
    const turn = this.#turn;
    const current = () => turn === this.#turn;
    for (let attempt = 0; current(); attempt++) {
      try {
        const result = this.last === null ? await this.#enter(current) : await this.#catchUp(current);
        if (!current()) return;
        this.#live = true;
        const waiting = this.#waiting;
        this.#waiting = [];
        this.#on.joined(this.#group, result);
        for (const message of waiting) this.push(message);
        return;
      } catch (error) {
        if (!current()) return;
        if (!(error instanceof RequestError) || !error.retryable) {
          this.pause();
          this.#on.refused(this.#group, error);
          return;
        }
        await sleep(error.retryAfterMS ?? backoff(attempt));
      }
    }
  }

  // enter starts with the newest page: pushes go on after max_seq, and the page ends there.
  async #enter(current) {
    const started = performance.now();
    const head = await this.#client.request('subscribe', { group: this.#group });
    const page = await this.#client.request('pull', {
      group: this.#group, before_seq: head.max_seq + 1, limit: FIRST_PAGE,
    });
    if (!current()) return null;
    this.#apply(page);
    this.last = head.max_seq;
    return { head, missed: 0, pages: 1, ms: performance.now() - started };
  }

  // catchUp asks for what comes after the last known seq until there is no more; pushes follow exactly behind.
  async #catchUp(current) {
    const started = performance.now();
    for (let missed = 0, pages = 1; ; pages++) {
      const page = await this.#client.request('subscribe', {
        group: this.#group, after_seq: this.last, limit: PAGE,
      });
      if (!current()) return null;
      missed += page.messages.length;
      const before = this.last;
      this.#apply(page);
      if (!page.more) {
        this.last = Math.max(this.last, page.max_seq);
        return { head: page, missed, pages, ms: performance.now() - started };
      }
      if (this.last === before) await sleep(backoff(0)); // the server is still finding out what lies there
    }
  }

  // apply hands a page over, its messages and holes merged by seq.
  #apply({ messages, holes }) {
    const parts = [
      ...messages.map((message) => ({ at: message.seq, end: message.seq, message })),
      ...(holes ?? []).map((hole) => ({ at: hole.from, end: hole.to, hole })),
    ].sort((a, b) => a.at - b.at);
    for (const { end, message, hole } of parts) {
      if (message) this.#on.message(message);
      else this.#on.hole({ group: this.#group, ...hole });
      this.last = Math.max(this.last ?? 0, end);
    }
  }

  push(message) {
    if (!this.#live) {
      this.#waiting.push(message);
      return;
    }
    if (message.seq <= this.last) return; // came with a page already
    if ((message.prev_seq ?? message.seq - 1) > this.last) {
      this.join(); // something between is missing, which a page will tell
      return;
    }
    if (message.seq > this.last + 1) {
      this.#on.hole({ group: this.#group, from: this.last + 1, to: message.seq - 1 });
    }
    this.last = message.seq;
    this.#on.message(message);
  }

  // resync: the server has stopped pushing, or repaired history from afterSeq on.
  resync(afterSeq) {
    if (this.last !== null && afterSeq !== undefined) this.last = Math.min(this.last, afterSeq);
    if (this.followed) this.join();
    else this.pause();
  }
}
