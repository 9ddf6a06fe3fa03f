import { defineConfig } from 'vitest/config';

// The hook of the live test builds hearth, which takes minutes where nothing of it was built before.
export default defineConfig({
  test: { include: ['test/**/*.test.ts'], testTimeout: 120_000, hookTimeout: 600_000, maxWorkers: 1 },
});
