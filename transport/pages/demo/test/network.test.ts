import type { SocketLike } from 'hearth-chat';
import { beforeEach, expect, test, vi } from 'vitest';
import { Network } from '../chat/network';

class FakeSocket {
  static all: FakeSocket[] = [];
  onopen: WebSocket['onopen'] = null;
  onmessage: WebSocket['onmessage'] = null;
  onclose: WebSocket['onclose'] = null;
  onerror: WebSocket['onerror'] = null;
  sent: unknown[] = [];
  closed = false;

  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {
    FakeSocket.all.push(this);
  }

  send(data: unknown): void {
    this.sent.push(data);
  }

  close(): void {
    this.closed = true;
  }
}

const frames: string[] = [];

function network(): Network {
  return new Network(
    'http://a:1',
    { opening: (url) => frames.push(url), frame: (direction, text) => frames.push(`${direction} ${text}`) },
    FakeSocket as never,
  );
}

/** What connect would do: a socket, and what it is told. */
function dial(net: Network): { socket: SocketLike; told: unknown[] } {
  const socket = new net.socket('ws://page/v1/ws', ['hearth.v1']);
  const told: unknown[] = [];
  socket.onmessage = (event: { data: string }) => told.push(event.data);
  socket.onclose = (event: { reason: string }) => told.push(event.reason);
  return { socket, told };
}

beforeEach(() => {
  FakeSocket.all = [];
  frames.length = 0;
});

test('frames go both ways, and are told', () => {
  const { socket, told } = dial(network());
  const [real] = FakeSocket.all;
  expect(real).toMatchObject({ url: 'ws://a:1/v1/ws', protocols: ['hearth.v1'] });
  socket.send('{"op":"ping"}');
  real!.onmessage?.call(real as never, { data: '{"ok":{}}' } as MessageEvent);
  expect(real!.sent).toEqual(['{"op":"ping"}']);
  expect(told).toEqual(['{"ok":{}}']);
  expect(frames).toEqual(['ws://a:1/v1/ws', 'out {"op":"ping"}', 'in {"ok":{}}']);
});

test('a drop cuts what is open, and nothing more is heard of it', async () => {
  const net = network();
  const { told } = dial(net);
  const [real] = FakeSocket.all;
  net.drop();
  expect(real!.closed).toBe(true);
  expect(told).toEqual(['the demo cut the connection']);
  real!.onmessage?.call(real as never, { data: 'late' } as MessageEvent);
  expect(told).toHaveLength(1);
});

test('while it is down nothing is dialled, and after mending the device is online again', async () => {
  const net = network();
  net.drop();
  const { told } = dial(net);
  await vi.waitFor(() => expect(told).toEqual(['no network']));
  expect(FakeSocket.all).toHaveLength(0);

  const woken = vi.fn();
  vi.stubGlobal('dispatchEvent', woken);
  net.mend();
  expect(woken).toHaveBeenCalledOnce();
  dial(net);
  expect(FakeSocket.all).toHaveLength(1);
  vi.unstubAllGlobals();
});

test('the other instance is where the next connection goes', () => {
  const net = network();
  const { told } = dial(net);
  net.moveTo('https://b:2');
  expect(told).toEqual(['the demo cut the connection']);
  dial(net);
  expect(FakeSocket.all.map(({ url }) => url)).toEqual(['ws://a:1/v1/ws', 'wss://b:2/v1/ws']);
});

test('a close by the server is told with its code', () => {
  const { socket } = dial(network());
  const closed = vi.fn();
  socket.onclose = closed;
  FakeSocket.all[0]!.onclose?.call({} as never, { code: 4000, reason: 'shutting down' } as CloseEvent);
  expect(closed).toHaveBeenCalledWith({ code: 4000, reason: 'shutting down' });
});
