import type { Hole } from 'hearth-chat';
import { count, exact, plural, range, unknown } from '../format';
import { format } from '../route';
import { ruler } from '../ruler';
import type { GroupReport } from '../types';
import { Figure } from './panel';

const mostHoles = 200;

export function Group({ report }: { report: GroupReport }) {
  const all = report.holes ?? [];
  const g = { ...report, holes: all.slice(-mostHoles) };
  return (
    <div data-testid="inspect-result" data-group={g.group}>
      <dl class="figures">
        <Figure name="Type">{g.type ?? unknown}</Figure>
        <Figure name="Owner" broad>
          {g.owner ? <a href={format({ view: 'inspect', kind: 'user', id: g.owner })}>{g.owner}</a> : unknown}
        </Figure>
        <Figure name="Members">{count(g.members)}</Figure>
        <Figure name="Viewers">{count(g.online)}</Figure>
        <Figure name="Heat">{count(g.heat)}</Figure>
        <Figure
          name="Partition"
          about="Groups are spread over partitions; each is written to MySQL by one instance at a time."
        >
          {count(g.partition)}
        </Figure>
        <Figure name="Generation" about="Counts how often the partition's data in Redis was lost and built again.">
          {count(g.generation)}
        </Figure>
        <Figure name="Version" about="Counts the changes of the group and its members.">
          {exact(g.version)}
        </Figure>
      </dl>
      <Ranges report={g} />
      <div class="columns">
        <Redis redis={g.redis} />
        <MySQL mysql={g.mysql} />
        <Unwritten unwritten={g.unwritten} dead={g.dead_letters} known={g.mysql !== null} />
      </div>
      <Holes holes={g.holes} of={all.length} known={g.mysql !== null} dead={g.dead_letters ?? []} />
    </div>
  );
}

/** The same as the numbers below it, drawn. */
function Ranges({ report }: { report: GroupReport }) {
  const r = ruler(report);
  if (!r) return null;
  return (
    <figure class="ruler" aria-hidden="true">
      {r.lanes.map((l) => (
        <div class="lane" key={l.name} data-lane={l.name}>
          <span class="soft">{l.name}</span>
          <div class="track">
            {l.bars.map((b) => (
              <i
                key={b.from}
                title={range(b.from, b.to)}
                style={{ left: `${b.left * 100}%`, width: `${b.width * 100}%` }}
              />
            ))}
          </div>
        </div>
      ))}
      <figcaption class="soft">
        <span>{exact(r.first)}</span>
        <span>not to scale</span>
        <span>{exact(r.last)}</span>
      </figcaption>
    </figure>
  );
}

function Redis({ redis }: { redis: GroupReport['redis'] }) {
  return (
    <section>
      <h3>Redis</h3>
      {redis ? (
        <dl class="facts">
          <Figure name="Max seq" testid="inspect-max-seq">
            {exact(redis.max_seq)}
          </Figure>
          <Figure name="Recent">{range(redis.recent_from, redis.recent_to)}</Figure>
          <Figure name="Recent messages">{exact(redis.recent_count)}</Figure>
          <Figure name="Persisted up to" testid="inspect-persisted-seq">
            {exact(redis.persisted_seq)}
          </Figure>
        </dl>
      ) : (
        <p class="soft">Knows nothing of this group: nobody has used it since this generation began.</p>
      )}
    </section>
  );
}

function MySQL({ mysql }: { mysql: GroupReport['mysql'] }) {
  return (
    <section>
      <h3>MySQL</h3>
      {mysql ? (
        <dl class="facts">
          <Figure name="Range">{range(mysql.min_seq, mysql.max_seq)}</Figure>
          <Figure name="Rows" testid="inspect-rows">
            {exact(mysql.count)}
          </Figure>
        </dl>
      ) : (
        <p class="soft">Away: what it has is not known.</p>
      )}
    </section>
  );
}

interface UnwrittenProps {
  unwritten: GroupReport['unwritten'];
  dead: GroupReport['dead_letters'];
  /** What MySQL has, and has refused. */
  known: boolean;
}

function Unwritten({ unwritten, dead = [], known }: UnwrittenProps) {
  return (
    <section>
      <h3>Unwritten</h3>
      {unwritten ? (
        <dl class="facts" data-testid="inspect-unwritten">
          <Figure name="Range">{range(unwritten.from, unwritten.to)}</Figure>
          <Figure name="Messages">{exact(unwritten.count)}</Figure>
        </dl>
      ) : (
        <p class="soft">{nothing(dead.length, known)}</p>
      )}
      {unwritten && dead.length > 0 && <p class="soft">{refused(dead.length)}</p>}
    </section>
  );
}

function nothing(dead: number, known: boolean): string {
  if (dead > 0) return `Nothing waits. ${refused(dead)}`;
  return known ? 'Nothing: all that was accepted is in MySQL.' : 'Nothing that is known of.';
}

function refused(n: number): string {
  return `MySQL refused ${plural(n, 'message')}: dead ${n === 1 ? 'letter' : 'letters'}, to be retried on the Overview.`;
}

/** Why nothing is there, and whether it can be had back. */
function reason(h: Hole, dead: number[]): string | undefined {
  const letters = dead.filter((seq) => h.from <= seq && seq <= h.to);
  if (letters.length === 0) return h.reason;
  if (h.from === h.to) return `${h.reason}; a dead letter: can be retried`;
  const which = letters.length > 5 ? plural(letters.length, 'seq') : letters.map(exact).join(', ');
  return `${h.reason}; dead letters at ${which}: can be retried`;
}

interface HolesProps {
  holes: Hole[];
  /** How many there are; the newest are shown. */
  of: number;
  /** Holes are told by MySQL. */
  known: boolean;
  /** Seqs. */
  dead: number[];
}

function Holes({ holes, of, known, dead }: HolesProps) {
  return (
    <section>
      <h3>Holes{of > holes.length && `, the newest ${exact(holes.length)} of ${exact(of)}`}</h3>
      {holes.length === 0 ? (
        <p class="soft">{known ? 'None: every seq has its message.' : 'Not known while MySQL is away.'}</p>
      ) : (
        <table class="narrow">
          <thead>
            <tr>
              <th scope="col">Seqs</th>
              <th scope="col" class="number">
                How many
              </th>
              <th scope="col">Reason</th>
            </tr>
          </thead>
          <tbody>
            {holes.toReversed().map((h) => (
              <tr key={h.from} data-testid="inspect-hole">
                <th scope="row" class="plain">
                  {range(h.from, h.to)}
                </th>
                <td class="number">{exact(h.to - h.from + 1)}</td>
                <td>{reason(h, dead)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
