import { expect, test } from 'vitest';
import { Route } from '../chat/route';

class FakeSocket {
  constructor(
    readonly url: string,
    readonly protocols: string[],
  ) {}
}

const dial = (route: Route) => new route.socket('ws://page:1/v1/ws', ['hearth.v1']) as unknown as FakeSocket;

test('a connection goes to the instance of the moment', () => {
  const route = new Route('http://a:1', FakeSocket as never);
  expect(dial(route)).toMatchObject({ url: 'ws://a:1/v1/ws', protocols: ['hearth.v1'] });
  route.instance = 'https://b:2';
  expect(dial(route).url).toBe('wss://b:2/v1/ws');
});

test('the other instances come in turn', () => {
  const route = new Route('http://a:1', FakeSocket as never);
  const instances = ['http://a:1', 'http://b:2'];
  expect(route.moveOn(instances)).toBe('http://b:2');
  expect(route.moveOn(instances)).toBe('http://a:1');
  expect(route.moveOn([])).toBe('http://a:1');
});
