import { useSignal, useSignalEffect } from '@preact/signals';
import type { Element } from 'hearth-chat';
import type { TargetedEvent } from 'preact';
import { useRef } from 'preact/hooks';
import type { Chat } from '../chat/chat';
import { mentionsOf } from '../chat/names';
import type { Room } from '../chat/room';
import { imageElement, voiceElement } from '../chat/upload';
import { PictureIcon, SendIcon, SoundFileIcon } from './icons';
import { StickerPicker } from './StickerPicker';
import { VoiceButton } from './VoiceButton';

export function Composer({ chat, room }: { chat: Chat; room: Room }) {
  const input = useRef<HTMLInputElement>(null);
  const text = useSignal('');
  const trouble = useSignal('');
  useSignalEffect(() => {
    const { name } = room.mentioned.value;
    if (!name) return;
    text.value = `${text.peek()}${text.peek() && !text.peek().endsWith(' ') ? ' ' : ''}@${name} `;
    input.current?.focus();
  });
  const send = (element: Element, mentions: string[] = []) => {
    chat.saw('seq');
    void room.send([element], mentions);
  };
  const submit = (event: TargetedEvent<HTMLFormElement>) => {
    event.preventDefault();
    const said = text.value.trim();
    if (!said) return;
    text.value = '';
    send(
      { type: 'text', text: said },
      mentionsOf(said, (name) => chat.known(name)),
    );
  };
  /** Uploads what the element needs, then sends it. */
  const sendLater = async (element: Promise<Element>) => {
    trouble.value = 'uploading …';
    try {
      send(await element);
      trouble.value = '';
    } catch (error) {
      trouble.value = (error as Error).message;
    }
  };
  return (
    <form class="composer" onSubmit={submit}>
      {trouble.value && (
        <p class="caption" role="status">
          {trouble.value}
        </p>
      )}
      <div class="attachments">
        <StickerPicker choose={(index) => send({ type: 'sticker', index })} />
        <FileButton
          id="attach-image"
          label="Send a picture"
          accept="image/png,image/jpeg,image/gif,image/webp,image/avif"
          choose={(file) => sendLater(imageElement(chat.hearth, file))}
        >
          <PictureIcon />
        </FileButton>
        <VoiceButton
          said={({ file, ms }) => sendLater(voiceElement(chat.hearth, file, 'voice-note', ms))}
          failed={(message) => {
            trouble.value = message;
          }}
        />
        <FileButton
          id="attach-voice"
          label="Send a sound file as a voice note"
          accept="audio/*"
          choose={(file) => sendLater(voiceElement(chat.hearth, file, file.name))}
        >
          <SoundFileIcon />
        </FileButton>
      </div>
      <input
        ref={input}
        class="text"
        data-testid="composer"
        aria-label={`Message to ${room.id}`}
        placeholder="Say something"
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
          if (text.value) room.typed();
        }}
        maxLength={2000}
        autocomplete="off"
        enterkeyhint="send"
      />
      <button type="submit" class="send" data-testid="send" aria-label="Send">
        <SendIcon />
      </button>
    </form>
  );
}

interface FileProps {
  id: string;
  label: string;
  accept: string;
  choose: (file: File) => void;
  children: preact.ComponentChildren;
}

/** A file input that looks like a button; the input itself is what is clicked and focused. */
function FileButton({ id, label, accept, choose, children }: FileProps) {
  return (
    <span class="file-button" title={label}>
      {children}
      <input
        type="file"
        data-testid={id}
        aria-label={label}
        accept={accept}
        onChange={(event) => {
          const file = event.currentTarget.files?.[0];
          if (file) choose(file);
          event.currentTarget.value = '';
        }}
      />
    </span>
  );
}
