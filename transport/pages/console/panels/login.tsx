import { useSignal } from '@preact/signals';
import type { TargetedSubmitEvent } from 'preact';
import icon from '../../shared/icon.svg';
import { login, says } from '../api';

export function Login() {
  const failure = useSignal('');
  const busy = useSignal(false);

  async function submit(e: TargetedSubmitEvent<HTMLFormElement>) {
    e.preventDefault();
    const form = e.currentTarget;
    const key = String(new FormData(form).get('key') ?? '').trim();
    if (!key || busy.value) return;
    busy.value = true;
    failure.value = '';
    try {
      await login(key);
    } catch (e) {
      failure.value = says(e);
      form.querySelector('input')?.select();
    } finally {
      busy.value = false;
    }
  }

  return (
    <main class="login">
      <form class="panel" onSubmit={submit}>
        <h1>
          <img src={icon} alt="" width="32" height="32" /> hearth console
        </h1>
        <label for="key">Admin key</label>
        <input
          id="key"
          name="key"
          type="password"
          autocomplete="current-password"
          required
          autofocus
          data-testid="login-key"
          aria-describedby="key-hint"
          aria-invalid={failure.value !== ''}
        />
        <p class="hint" id="key-hint">
          One of <code>console.keys</code>; <code>hearth keys new</code> makes another.
        </p>
        <p class="failure" role="alert">
          {failure.value}
        </p>
        <button type="submit" class="primary" disabled={busy.value} data-testid="login-submit">
          {busy.value ? 'Logging in …' : 'Log in'}
        </button>
      </form>
    </main>
  );
}
