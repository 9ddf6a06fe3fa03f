import { defineConfig } from 'tsdown';

const common = {
  entry: { index: 'src/index.ts' },
  format: 'esm' as const,
  platform: 'neutral' as const,
  target: 'es2022',
  outExtensions: () => ({ js: '.js', dts: '.d.ts' }),
};

export default defineConfig([
  { ...common, dts: true, clean: true },
  // The same in one small file, for pages that have no bundler.
  { ...common, entry: { 'hearth.min': 'src/index.ts' }, dts: false, clean: false, minify: true },
]);
