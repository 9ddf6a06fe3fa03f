import { useSignal, useSignalEffect } from '@preact/signals';
import type { TargetedEvent } from 'preact';
import type { Chat, Place } from '../chat/chat';
import { whyNoUser } from '../chat/names';
import { Avatar } from './Avatar';
import { FlameIcon } from './icons';

export function TopBar({ chat }: { chat: Chat }) {
  return (
    <header class="top">
      <h1>
        <FlameIcon />{' '}
        <span class="hidden-narrow">
          hearth <small>demo</small>
        </span>
      </h1>
      <State chat={chat} />
      <Who chat={chat} />
    </header>
  );
}

const WORDS: Record<Place, string> = {
  connecting: 'connecting …',
  online: 'online',
  waiting: 'lost, trying again …',
  dropped: 'dropped',
  closed: 'sent away',
};

function State({ chat }: { chat: Chat }) {
  const place = chat.place.value;
  const at = place === 'online' && chat.instance.value ? ` at ${chat.instance.value}` : '';
  return (
    <p class="state" role="status" data-testid="state" data-state={place} title={chat.reason.value}>
      {WORDS[place]}
      {at}
    </p>
  );
}

/** Who this window is; another name is another user. */
function Who({ chat }: { chat: Chat }) {
  const name = useSignal('');
  const trouble = useSignal('');
  useSignalEffect(() => {
    name.value = chat.name(chat.user.value);
    trouble.value = '';
  });
  const become = (event: TargetedEvent<HTMLElement>) => {
    event.preventDefault();
    const wanted = name.value.trim();
    const me = chat.name(chat.user.value);
    const why = wanted === me ? '' : whyNoUser(chat.config.user_prefix, wanted);
    trouble.value = why && `${why}. You are still ${me}.`;
    if (!why && wanted !== me) chat.become(wanted);
  };
  return (
    <form class="who" onSubmit={become}>
      <label for="user" class="hidden-narrow">
        You are
      </label>
      <Avatar name={chat.name(chat.user.value)} />
      <input
        id="user"
        data-testid="user"
        value={name.value}
        onInput={(event) => {
          name.value = event.currentTarget.value;
        }}
        onBlur={become}
        maxLength={64}
        autocomplete="off"
        spellcheck={false}
        title="Letters, digits and _ . @ # - ; another name is another user"
        aria-invalid={trouble.value !== ''}
        aria-describedby="user-trouble"
      />
      <p id="user-trouble" class="caption bad" role="alert" data-testid="user-trouble">
        {trouble.value}
      </p>
    </form>
  );
}
