import '../shared/theme.css';
import './demo.css';
import { render } from 'preact';
import { Chat } from './chat/chat';
import { type DemoConfig, loadConfig } from './chat/door';
import { friendlyName, readAddress } from './chat/names';
import { App } from './parts/App';
import { Trouble } from './parts/Trouble';

const root = document.getElementById('app')!;

/** The instance that this window was led to before, else the one that the page came from. */
function startInstance({ instances }: DemoConfig): string {
  const saved = sessionStorage.getItem('hearth.instance') ?? '';
  if (instances.includes(saved)) return saved;
  return instances.includes(location.origin) ? location.origin : instances[0]!;
}

async function start(): Promise<void> {
  const config = await loadConfig();
  const { user, room, refused } = readAddress(location.search, config.user_prefix);
  const chat = new Chat(config, startInstance(config));
  chat.refused.value = refused;
  chat.become(user ?? sessionStorage.getItem('hearth.user') ?? friendlyName());
  chat.enter(room ?? config.rooms[0] ?? 'lobby');
  document.addEventListener('visibilitychange', () => chat.looked(!document.hidden));
  render(<App chat={chat} />, root);
}

start().catch((error: Error) => render(<Trouble message={error.message} />, root));
