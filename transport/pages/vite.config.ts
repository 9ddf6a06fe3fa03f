import { defineConfig } from 'vitest/config';
import { mock } from './console/test/mock.ts';

// A page is a folder, built to dist/ of the same name: `vite build --mode demo`. File names have no hash: the server
// tells browsers to ask whether a file is still the same.
export default defineConfig(({ mode }) => {
  const page = mode === 'console' ? 'console' : 'demo';
  return {
    root: mode === 'test' ? '.' : page,
    base: `/${page}/`,
    plugins: mode === 'console' ? [mock()] : [],
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: `../dist/${page}`,
      emptyOutDir: true,
      target: 'es2022',
      assetsInlineLimit: 0, // the pages' Content-Security-Policy has no data: for them
      modulePreload: false,
      rolldownOptions: {
        output: { entryFileNames: 'main.js', chunkFileNames: '[name].js', assetFileNames: '[name][extname]' },
      },
    },
  };
});
