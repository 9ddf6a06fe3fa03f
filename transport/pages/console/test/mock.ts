// Serves the made-up hearth beside the page: `npm run mock` (the built page) or `npm run mock:dev` (as it is written).
// GET /mock?mysql=away, ?mysql=back, ?redis=away, ?redis=back, ?blank=1, ?drain=1, ?silent=1 change it.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Plugin } from 'vite';
import { adminKey, World } from './world.ts';

const prefix = '/console/api';
const policy = "default-src 'self'";

export function mock(): Plugin {
  const world = new World(Date.now);
  let silent = false;
  const start = () => setInterval(() => world.tick(), 1000);

  function change(query: URLSearchParams) {
    const since = (key: string) => (query.get(key) === 'away' ? Date.now() : undefined);
    if (query.has('mysql')) world.mysqlAway = since('mysql');
    if (query.has('redis')) world.redisAway = since('redis');
    if (query.has('blank')) world.blank = query.get('blank') === '1';
    if (query.has('drain')) world.draining = query.get('drain') === '1';
    if (query.has('silent')) silent = query.get('silent') === '1';
  }

  async function serve(req: IncomingMessage, res: ServerResponse, next: () => void) {
    const url = new URL(req.url ?? '/', 'http://mock');
    res.setHeader('Content-Security-Policy', policy);
    if (url.pathname === '/mock') {
      change(url.searchParams);
      return reply(res, 200, { silent });
    }
    if (!url.pathname.startsWith(prefix)) return next();
    if (silent) return res.destroy();
    const path = url.pathname.slice(prefix.length);
    if (path === '/login' || path === '/logout') return enter(req, res, path);
    if (!req.headers.cookie?.includes(`mock=${adminKey}`)) return reply(res, 401, refused);
    if (path === '/session') return reply(res, 200, { key: 'ops', instance: 'a', version: 'v0.9.4' });
    if (path === '/events') return events(res, url);
    const answer = world.answer(req.method ?? 'GET', path + url.search, await json(req));
    reply(res, answer.status, answer.body);
  }

  function events(res: ServerResponse, url: URL) {
    const group = url.searchParams.get('group');
    const asked = url.searchParams.get('after_seq');
    let after = asked === null ? undefined : Number(asked);
    every(res, () => {
      if (silent) return res.destroy();
      tell(res, 'overview', world.overview());
      const page = group && world.page(group, after);
      if (!page) return;
      after = page.max_seq;
      tell(res, 'page', page);
    });
  }

  async function enter(req: IncomingMessage, res: ServerResponse, path: string) {
    const given = path === '/login' ? (await json(req)).key : '';
    if (path === '/login' && given !== adminKey) return reply(res, 401, refused);
    res.setHeader('Set-Cookie', `mock=${given}; HttpOnly; SameSite=Strict; Path=/console`);
    reply(res, 204);
  }

  return {
    name: 'mock',
    configureServer: (server) => {
      start();
      server.middlewares.use(serve);
    },
    configurePreviewServer: (server) => {
      start();
      server.middlewares.use(serve);
    },
  };
}

const refused = { error: { code: 'unauthenticated', message: 'This key is not one of console.keys.' } };

function reply(res: ServerResponse, status: number, body?: unknown) {
  res.writeHead(status, { 'Content-Type': 'application/json' });
  res.end(body === undefined ? undefined : JSON.stringify(body));
}

function every(res: ServerResponse, tell: () => void) {
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  tell();
  const timer = setInterval(tell, 1000);
  res.on('close', () => clearInterval(timer));
}

function tell(res: ServerResponse, event: string, data: unknown) {
  res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
}

async function json(req: IncomingMessage): Promise<{ [key: string]: unknown }> {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text ? JSON.parse(text) : {};
}
