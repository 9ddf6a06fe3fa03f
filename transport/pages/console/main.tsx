import '../shared/theme.css';
import { render } from 'preact';

render(<h1>hearth console</h1>, document.getElementById('app')!);
