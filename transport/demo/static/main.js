// The page: puts the client, the board, the room and the frames together.

import { Board } from './board.js';
import { Client } from './client.js';
import { colour, endKeeper, find } from './dom.js';
import { Frames } from './frames.js';
import { Outbox } from './outbox.js';
import { Room } from './room.js';

const BURST = 100;
const OLDER_PAGE = 50;
const ID = /^[A-Za-z0-9_.@#-]{1,64}$/;

const config = await (await fetch('/demo/config.json')).json();
const instances = config.instances.length > 0 ? config.instances : [location.origin];
const frames = new Frames();
const logEnd = endKeeper(find('log'));
const rooms = new Map(); // id → Room

let user = sessionStorage.getItem('hearth.user') ?? randomUser();
let token = null; // the newest one, for HTTP
let current = roomOfAddress();
let burst = null;
let client = null;
let outbox = null;
const board = new Board(config, boardSource, enter);

wire();
become(user, startInstance());
board.start();

function randomUser() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  const manner = pick(['brave', 'calm', 'clever', 'cosy', 'eager', 'gentle', 'happy', 'jolly', 'lucky', 'quick', 'sunny', 'witty']);
  const animal = pick(['badger', 'crane', 'fox', 'hare', 'heron', 'lynx', 'marten', 'otter', 'owl', 'robin', 'seal', 'wren']);
  return `${manner}-${animal}-${10 + Math.floor(Math.random() * 90)}`;
}

function roomOfAddress() {
  let room = '';
  try {
    room = decodeURIComponent(location.hash.slice(1));
  } catch {
    // not ours
  }
  return isRoom(room) ? room : (config.rooms[0] ?? 'lobby');
}

function isRoom(id) {
  return ID.test(id) && id !== 'hot';
}

function startInstance() {
  const saved = sessionStorage.getItem('hearth.instance');
  if (instances.includes(saved)) return saved;
  return instances.includes(location.origin) ? location.origin : instances[0];
}

async function freshToken() {
  const response = await fetch('/demo/token', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ user, name: user }),
  }).catch(() => null);
  if (!response) throw Object.assign(new Error('the page’s server does not answer'), { retryable: true });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.detail), { retryable: answer.retryable });
  const first = !token;
  token = answer.token;
  if (first) board.poll();
  return token;
}

function newClient(base) {
  return new Client(base, freshToken, {
    state: (from, details) => from === client && showState(details),
    frame: (direction, text, place) => frames.add(direction, text, place),
    message: (message) => roomOf(message.group).message(message),
    hole: (hole) => roomOf(hole.group).hole(hole),
    recall: (recall) => roomOf(recall.group).recalled(recall),
    joined: (group, result) => showJoined(group, result),
    refused: (group, error) => group === current && say(`${group}: ${error.message} (${error.code})`),
  });
}

function roomOf(id) {
  if (!rooms.has(id)) {
    const retry = (entry) => outbox.retry(entry);
    rooms.set(id, new Room({ scroller: find('log'), end: logEnd, me: user, retry }));
  }
  return rooms.get(id);
}

function enter(room) {
  if (room !== current) client.unfollow(current);
  current = room;
  history.replaceState(null, '', `#${encodeURIComponent(room)}`);
  document.title = `${room} · hearth`;
  find('room-name').textContent = room;
  find('text').placeholder = `Say something in ${room}`;
  find('room-seq').textContent = '';
  find('older').hidden = true;
  roomOf(room).show();
  client.follow(room);
  board.render();
  view('room');
}

// become makes the page a user at an instance: another user is another connection with another token.
function become(name, base) {
  client?.disconnect();
  user = name;
  sessionStorage.setItem('hearth.user', user);
  find('user').value = user;
  colour(find('user'), user);
  rooms.clear();
  token = null;
  client = newClient(base);
  outbox = new Outbox(client, showEntry);
  enter(current);
  client.connect();
}

function boardSource() {
  return { base: client.base, token, current };
}

function showState({ code, reason, retryInMS }) {
  const { state, welcome } = client;
  const text = {
    offline: 'offline',
    connecting: 'connecting …',
    online: `online at ${welcome?.instance}`,
    waiting: `lost${code ? ` (${code})` : ''}, back in ${(retryInMS / 1000).toFixed(1)} s`,
    refused: `refused${code ? ` (${code})` : ''}: ${reason}`,
  }[state];
  find('state').textContent = text;
  find('state').dataset.state = state;
  find('drop').disabled = state === 'offline' || state === 'refused';
  find('reconnect').disabled = state === 'online' || state === 'connecting';
  showInstances();
  if (state === 'waiting' && reason) say(`${reason}. What you write is sent when the connection is back.`);
  if (state === 'offline') say('Dropped. Others go on talking; reconnect to catch up from your last seq.');
  if (state === 'online') outbox.pump();
}

function showInstances() {
  const number = instances.indexOf(client.base) + 1;
  find('other').hidden = instances.length < 2;
  find('other').title = `Now at ${client.base} (${number} of ${instances.length})`;
}

function showJoined(group, { missed, pages, ms, head }) {
  if (group !== current) return;
  const room = roomOf(group);
  find('older').hidden = room.firstSeq === null || room.firstSeq <= 1;
  find('room-seq').textContent = `up to #${head.max_seq} when you came`;
  const asked = pages === 1 ? 'one request' : `${pages} requests`;
  if (missed > 0) say(`Caught up: ${missed} missed message${missed === 1 ? '' : 's'} with ${asked} in ${Math.round(ms)} ms.`);
  else say(head.max_seq === 0 ? 'A new room. Say the first word!' : 'Up to date.');
}

function showEntry(entry) {
  roomOf(entry.group).entry(entry);
  if (burst && entry.tag === burst) showBurst(entry);
}

// showBurst counts what the server said to the burst; the rate limits are the protocol's, not the page's.
function showBurst(entry) {
  if (entry.state === 'accepted') burst.accepted++;
  if (entry.state === 'failed') burst.failed++;
  if (entry.error?.code === 'rate_limited' && entry.state === 'waiting') burst.limited++;
  const seconds = ((performance.now() - burst.started) / 1000).toFixed(1);
  const done = burst.accepted + burst.failed === BURST;
  say(`Burst: ${burst.accepted} of ${BURST} accepted, ${burst.limited} × rate_limited and tried again, ` +
    `${burst.failed} failed, ${seconds} s${done ? '. Done.' : ' …'}`);
  if (done) burst = null;
  find('burst').disabled = !done;
}

function say(text) {
  find('said').textContent = text;
}

// view chooses the part that narrow screens show.
function view(name) {
  document.body.dataset.view = name;
  for (const tab of document.querySelectorAll('[data-tab]')) {
    tab.setAttribute('aria-pressed', tab.dataset.tab === name);
  }
  scrollToEnds();
}

function showFrames(shown) {
  document.body.dataset.frames = shown ? 'shown' : 'hidden';
  find('frames-toggle').setAttribute('aria-expanded', shown);
  scrollToEnds();
}

// A list that was not displayed has forgotten where it was.
function scrollToEnds() {
  logEnd.go();
  frames.goToEnd();
}

function wire() {
  find('drop').onclick = () => {
    client.disconnect();
    find('reconnect').focus(); // the button just pressed is off now, and would take the focus with it
  };
  find('reconnect').onclick = () => {
    client.connect();
    find('drop').focus();
  };
  find('other').onclick = switchInstance;
  find('burst').onclick = startBurst;
  find('older').onclick = loadOlder;
  find('compose').onsubmit = submitMessage;
  find('go').onsubmit = submitRoom;
  find('who').onsubmit = submitUser;
  find('user').onchange = submitUser;
  find('frames-toggle').onclick = () => showFrames(document.body.dataset.frames === 'hidden');
  for (const tab of document.querySelectorAll('[data-tab]')) tab.onclick = () => view(tab.dataset.tab);
  addEventListener('hashchange', () => enter(roomOfAddress()));
  showFrames(matchMedia('(min-width: 72rem)').matches);
}

function switchInstance() {
  const next = instances[(instances.indexOf(client.base) + 1) % instances.length];
  sessionStorage.setItem('hearth.instance', next);
  client.moveTo(next);
}

function startBurst() {
  if (burst) return;
  burst = { started: performance.now(), accepted: 0, failed: 0, limited: 0 };
  const tag = burst;
  // All at once, each in a lane of its own: the server has to say how much is too much.
  for (let n = 1; n <= BURST; n++) outbox.add(current, `burst ${n} of ${BURST}`, { lane: `burst ${n}`, tag });
}

async function loadOlder() {
  const room = roomOf(current);
  try {
    const page = await client.request('pull', { group: current, before_seq: room.firstSeq, limit: OLDER_PAGE });
    room.older(page);
    find('older').hidden = !page.more;
  } catch (error) {
    say(`Older messages: ${error.message} (${error.code})`);
  }
}

function submitMessage(event) {
  event.preventDefault();
  const text = find('text').value.trim();
  if (!text) return;
  find('text').value = '';
  logEnd.go();
  outbox.add(current, text);
}

function submitRoom(event) {
  event.preventDefault();
  const room = find('go-room').value.trim();
  if (!isRoom(room)) {
    say('A room’s id has 1 to 64 characters of A-Z a-z 0-9 _ . @ # -');
    return;
  }
  find('go-room').value = '';
  enter(room);
}

function submitUser(event) {
  event.preventDefault();
  const name = find('user').value.trim();
  if (name === user) return;
  if (outbox.length > 0) {
    find('user').value = user;
    say('Not while messages of yours wait to be sent.');
    return;
  }
  if (!ID.test(name) || name === 'system') {
    find('user').value = user;
    say('A user id has 1 to 64 characters of A-Z a-z 0-9 _ . @ # -');
    return;
  }
  become(name, client.base);
}
