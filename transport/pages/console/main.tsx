import '../shared/theme.css';
import './css/base.css';
import './css/controls.css';
import './css/frame.css';
import './css/totals.css';
import './css/tables.css';
import './css/overview.css';
import './css/room.css';
import './css/inspect.css';
import { render } from 'preact';
import { App } from './app';

render(<App />, document.getElementById('app')!);
