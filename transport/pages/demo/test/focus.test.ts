// @vitest-environment happy-dom

import { signal } from '@preact/signals';
import type { Message } from 'hearth-chat';
import { type ComponentChild, h, render } from 'preact';
import { afterEach, expect, test, vi } from 'vitest';
import type { Chat } from '../chat/chat';
import type { Room } from '../chat/room';
import { MessageRow } from '../parts/MessageRow';
import { StickerPicker } from '../parts/StickerPicker';

vi.setConfig({ testTimeout: 60_000 });

let root: HTMLElement;

function show(what: ComponentChild): void {
  document.body.innerHTML = '<div id="app" role="log" tabindex="0"></div><button id="elsewhere">elsewhere</button>';
  root = document.getElementById('app')!;
  render(what, root);
}

afterEach(() => render(null, root));

const find = (selector: string) => document.querySelector<HTMLElement>(selector);

test('the stickers close when the focus goes on, and not while it is among them', async () => {
  show(h(StickerPicker, { choose: () => {} }));
  find('[data-testid=sticker]')!.click();
  await vi.waitFor(() => expect(document.activeElement).toBe(find('[data-index="0"]')), 10_000);
  find('[data-index="1"]')!.focus();
  expect(find('.choices')).not.toBeNull();
  find('#elsewhere')!.focus();
  await vi.waitFor(() => expect(find('.choices')).toBeNull(), 10_000);
  expect(document.activeElement).toBe(find('#elsewhere'));
});

test('who takes a message back is left among the messages', async () => {
  const message: Message = {
    group: 'tea',
    seq: 1,
    time_ms: Date.now(),
    from: 'ann',
    body: [{ type: 'text', text: 'x' }],
  };
  const row = (message: Message) => {
    const room = { readersOf: () => [], recall: async () => again(recalled) } as unknown as Room;
    const chat = { user: signal('ann'), name: (user: string) => user } as unknown as Chat;
    return h(MessageRow, { chat, room, message, missed: false, follows: false });
  };
  const again = (message: Message) => render(row(message), root);
  const { body: _, ...rest } = message;
  const recalled = { ...rest, recalled_ms: 1, recalled_by: 'ann' } as Message;
  show(row(message));
  find('[data-testid=recall]')!.focus();
  find('[data-testid=recall]')!.click();
  await vi.waitFor(() => expect(find('[data-kind=recalled]')).not.toBeNull(), 10_000);
  await vi.waitFor(() => expect(document.activeElement).toBe(root), 10_000);
});
