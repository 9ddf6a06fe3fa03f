import { useSignal } from '@preact/signals';
import { get } from '../api';
import { useLoaded } from '../load';
import { session } from '../session';
import { find, lines } from '../yaml';
import { Empty, Failure, Loading, Panel } from './panel';

export function Config() {
  const words = useSignal('');
  const { loaded } = useLoaded('config', () => get<{ config: string }>('/config'));
  const { data, error } = loaded.value;
  const shown = find(lines(data?.config ?? ''), words.value);
  const filter = (
    <input
      type="search"
      aria-label="Find a setting"
      placeholder="Find a setting"
      value={words.value}
      onInput={(e) => (words.value = e.currentTarget.value)}
    />
  );
  return (
    <Panel name="config" title="Configuration" aside={filter}>
      <p class="soft">
        What the instance {session.value?.instance} runs with: defaults, file and environment. Secrets are shown as ***.
      </p>
      {error && <Failure>{error.message}</Failure>}
      {!data && !error && <Loading />}
      {data && shown.length === 0 && <Empty>No setting has “{words.value}” in it.</Empty>}
      {data && shown.length > 0 && (
        <pre data-testid="config">
          {shown.map((l, i) => (
            <span class="line" key={i}>
              {l.indent}
              {l.name !== undefined && <b>{l.name}:</b>}
              {l.name !== undefined && l.value && ' '}
              {l.value && <span class={l.value.includes('***') ? 'secret' : 'value'}>{l.value}</span>}
              {l.name !== undefined && l.comment && ' '}
              {l.comment && <i>{l.comment}</i>}
              {'\n'}
            </span>
          ))}
        </pre>
      )}
    </Panel>
  );
}
