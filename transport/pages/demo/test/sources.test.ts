import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const folders = ['..', '../chat', '../parts'].map((path) => fileURLToPath(new URL(path, import.meta.url)));
const sources = folders.flatMap((folder) =>
  readdirSync(folder)
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => [name, readFileSync(`${folder}/${name}`, 'utf8')] as const),
);

test.each(sources)('%s makes no markup of data', (_, source) => {
  expect(source).not.toMatch(/innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function/);
});

test.each(sources)('%s uses nothing private of the SDK', (_, source) => {
  expect(source).not.toMatch(/from '[^']*sdk/);
  expect(source).not.toMatch(/\.feeds\b/);
});
