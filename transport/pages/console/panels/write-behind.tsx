import { count, latency, rate } from '../format';
import { trail } from '../history';
import { overview, samples, serverNow } from '../state';
import { standing } from '../write-behind';
import { Dead } from './dead';
import { Figure, Loading, Panel } from './panel';
import { SparkLine } from './spark-line';

export function WriteBehind() {
  const o = overview.value;
  return (
    <Panel name="write-behind" title="Write-behind" aside={<span class="soft">Redis to MySQL</span>}>
      {o ? <Body /> : <Loading />}
    </Panel>
  );
}

function Body() {
  const o = overview.value!;
  const t = o.totals;
  const { level, title, text } = standing(o, serverNow.value);
  return (
    <>
      <div class="flow">
        <div>
          <p class={`standing ${level}`} data-testid="backlog-state" data-level={level}>
            <strong>{title}</strong>
            <span>{text}</span>
          </p>
          <dl class="figures">
            <Figure name="Backlog" testid="backlog">
              {count(t.backlog)}
            </Figure>
            <Figure name="Lag" testid="lag">
              {latency(t.lag_ms)}
            </Figure>
            <Figure name="Rows/s" testid="rows">
              {rate(t.rows_per_s)}
            </Figure>
            <Figure name="Dead letters" testid="dead-letters">
              {count(t.dead_letters)}
            </Figure>
          </dl>
        </div>
        <figure class="trail">
          <SparkLine values={trail(samples.value, 'backlog')} over={300} />
          <figcaption class="soft">Backlog since this page was opened, five minutes at most</figcaption>
        </figure>
      </div>
      <Dead count={t.dead_letters} />
    </>
  );
}
