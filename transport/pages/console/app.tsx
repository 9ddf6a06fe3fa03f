// The page: the login form, or the head, the totals and the view that the address names.

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { get } from './api';
import { Banners } from './panels/banners';
import { Config } from './panels/config';
import { Head } from './panels/head';
import { Hot } from './panels/hot';
import { Inspect } from './panels/inspect';
import { Instances } from './panels/instances';
import { Login } from './panels/login';
import { RatesPanel } from './panels/rates';
import { Room } from './panels/room';
import { Totals } from './panels/totals';
import { WriteBehind } from './panels/write-behind';
import type { Route } from './route';
import { rememberSession, session, wasHere } from './session';
import { announcement, followAddress, followOverview, route } from './state';
import type { Session } from './types';

export function App() {
  useEffect(followAddress, []);
  useEffect(rememberSession, []);
  useEffect(askSession, []);
  if (session.value === undefined) {
    return (
      <p class="opening" role="status">
        Asking hearth …
      </p>
    );
  }
  return session.value === null ? <Login /> : <Console />;
}

/** Asks who is logged in until there is an answer. */
function askSession() {
  if (!wasHere()) {
    session.value = null;
    return;
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  async function ask() {
    try {
      session.value = await get<Session>('/session');
    } catch {
      if (session.value === undefined) timer = setTimeout(ask, 2000);
    }
  }
  ask();
  return () => clearTimeout(timer);
}

function Console() {
  useEffect(followOverview, []);
  return (
    <>
      <button type="button" class="skip" onClick={skip}>
        Skip to the view
      </button>
      <Head />
      <div class="page">
        <Banners />
        <Totals />
        <View route={route.value} />
      </div>
      <p class="hidden" role="status" data-testid="announcement">
        {announcement.value}
      </p>
    </>
  );
}

/** No link: the address is the route's. */
function skip() {
  document.getElementById('view')?.focus();
}

const titles = { overview: 'Overview', room: 'Room', inspect: 'Inspector', config: 'Configuration' };

function View({ route: r }: { route: Route }) {
  const main = useRef<HTMLElement>(null);
  const seen = useRef(r.view);
  useEffect(() => {
    const what = r.view === 'room' ? r.group : r.view === 'inspect' ? r.id : undefined;
    document.title = `${what ? `${what} · ` : ''}${titles[r.view]} · hearth console`;
    if (seen.current !== r.view) main.current?.focus({ preventScroll: true });
    seen.current = r.view;
  }, [r]);
  return (
    <main id="view" class={`view ${r.view}`} ref={main} tabIndex={-1} aria-label={titles[r.view]}>
      {panels(r)}
    </main>
  );
}

function panels(r: Route): ComponentChildren {
  switch (r.view) {
    case 'room':
      return <Room group={r.group} key={r.group} />;
    case 'inspect':
      return <Inspect kind={r.kind} id={r.id} key={`${r.kind} ${r.id}`} />;
    case 'config':
      return <Config />;
    case 'overview':
      return (
        <>
          <Hot />
          <div class="beside">
            <RatesPanel group={r.rates} metric={r.metric} />
            <WriteBehind />
            <Instances />
          </div>
        </>
      );
  }
}
