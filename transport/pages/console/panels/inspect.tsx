import type { TargetedSubmitEvent } from 'preact';
import { get, segment } from '../api';
import { useLoaded } from '../load';
import { format } from '../route';
import type { GroupReport, UserReport } from '../types';
import { Group } from './inspect-group';
import { User } from './inspect-user';
import { Empty, Failure, Loading, Panel } from './panel';

interface Props {
  kind: 'group' | 'user';
  id: string | undefined;
}

const everyMS = 3000;

export function Inspect({ kind, id }: Props) {
  return (
    <>
      <Chooser kind={kind} id={id} />
      {id === undefined ? (
        <Panel name="nothing" title="Nothing is inspected">
          <Empty>
            A group: its seqs in Redis and MySQL, what is not written yet, its holes. A user: his connections and read
            marks.
          </Empty>
        </Panel>
      ) : (
        <Report kind={kind} id={id} />
      )}
    </>
  );
}

function Chooser({ kind, id }: Props) {
  function open(e: TargetedSubmitEvent<HTMLFormElement>) {
    e.preventDefault();
    const form = new FormData(e.currentTarget);
    const chosen = String(form.get('id') ?? '').trim();
    if (chosen)
      location.hash = format({ view: 'inspect', kind: form.get('kind') === 'user' ? 'user' : 'group', id: chosen });
  }
  return (
    <form class="chooser" onSubmit={open}>
      <fieldset class="switch">
        <legend class="hidden">What to inspect</legend>
        {(['group', 'user'] as const).map((k) => (
          <label key={k}>
            <input type="radio" name="kind" value={k} defaultChecked={k === kind} />
            <span>{k === 'group' ? 'Group' : 'User'}</span>
          </label>
        ))}
      </fieldset>
      <label for="inspect-id" class="hidden">
        Id
      </label>
      <input
        id="inspect-id"
        name="id"
        placeholder="id"
        defaultValue={id ?? ''}
        autocomplete="off"
        required
        spellcheck={false}
        data-testid="inspect-id"
      />
      <button type="submit">Inspect</button>
    </form>
  );
}

function Report({ kind, id }: { kind: 'group' | 'user'; id: string }) {
  const { loaded } = useLoaded(
    `${kind} ${id}`,
    () => get<GroupReport & UserReport>(`/${kind}s/${segment(id)}`),
    everyMS,
  );
  const { data, error } = loaded.value;
  return (
    <Panel
      name="report"
      title={<Title kind={kind} id={id} name={data?.name} />}
      aside={kind === 'group' && <Links id={id} />}
    >
      {error && <Failure>{error.status === 404 ? `There is no ${kind} “${id}”.` : error.message}</Failure>}
      {data ? kind === 'group' ? <Group report={data} /> : <User report={data} /> : !error && <Loading />}
    </Panel>
  );
}

function Title({ kind, id, name }: { kind: string; id: string; name: string | undefined }) {
  return (
    <>
      <span class="soft">{kind}</span> {id}
      {name && name !== id && <span class="soft"> {name}</span>}
    </>
  );
}

function Links({ id }: { id: string }) {
  return (
    <p class="links">
      <a href={format({ view: 'room', group: id })}>Messages</a>
      <a href={format({ view: 'overview', rates: id, metric: 'messages' })}>Rate</a>
    </p>
  );
}
