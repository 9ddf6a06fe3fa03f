// Prints what the SDK costs a page.
import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

const bundle = readFileSync(new URL('../dist/hearth.min.js', import.meta.url));
console.log(`dist/hearth.min.js: ${bundle.length} bytes, ${gzipSync(bundle, { level: 9 }).length} gzipped`);
