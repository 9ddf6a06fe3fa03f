import '../shared/theme.css';
import { render } from 'preact';

render(<h1>hearth demo</h1>, document.getElementById('app')!);
