// The address: #/ · #/room/tea · #/inspect/group/tea · #/inspect/user/ann · #/config. It holds what is looked at, so that
// it can be shared and Back works.

export type Metric = 'messages' | 'deliveries';

export type Route =
  | { view: 'overview'; rates?: string; metric: Metric }
  | { view: 'room'; group?: string }
  | { view: 'inspect'; kind: 'group' | 'user'; id?: string }
  | { view: 'config' };

/** What a hash stands for; anything else is the overview. */
export function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?', 2);
  const [view, ...rest] = path.split('/').map(decode);
  if (view === 'room') return rest[0] ? { view, group: rest[0] } : { view };
  if (view === 'inspect') {
    const kind = rest[0] === 'user' ? 'user' : 'group';
    return rest[1] ? { view, kind, id: rest[1] } : { view, kind };
  }
  if (view === 'config') return { view };
  const q = new URLSearchParams(query);
  const rates = q.get('rates');
  const metric = q.get('of') === 'deliveries' ? 'deliveries' : 'messages';
  return rates ? { view: 'overview', rates, metric } : { view: 'overview', metric };
}

export function format(route: Route): string {
  const path = (...parts: (string | undefined)[]) =>
    `#/${parts
      .filter((p) => p !== undefined)
      .map((p) => encodeURIComponent(p!))
      .join('/')}`;
  switch (route.view) {
    case 'room':
      return path('room', route.group);
    case 'inspect':
      return path('inspect', route.kind, route.id);
    case 'config':
      return path('config');
    case 'overview': {
      const q = new URLSearchParams();
      if (route.rates) q.set('rates', route.rates);
      if (route.metric === 'deliveries') q.set('of', 'deliveries');
      return q.size ? `#/?${q}` : '#/';
    }
  }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a lone % typed by hand
  }
}
