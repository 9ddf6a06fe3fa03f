import { useEffect, useRef, useState } from 'preact/hooks';
import { canRecord, type Recording, record } from '../chat/recorder';
import { MicrophoneIcon, StopIcon } from './icons';

interface Props {
  said: (note: { file: Blob; ms: number }) => void;
  failed: (message: string) => void;
}

/** Records a voice note: once to begin, once to send it. */
export function VoiceButton({ said, failed }: Props) {
  const [recording, setRecording] = useState<Recording>();
  const latest = useRef<Recording | undefined>(undefined);
  latest.current = recording;
  useEffect(() => () => latest.current?.cancel(), []);
  const press = async () => {
    if (recording) {
      setRecording(undefined);
      const note = await recording.stop();
      if (note) said(note);
      return;
    }
    try {
      setRecording(await record());
      failed('');
    } catch {
      failed('No microphone here: choose a sound file instead.');
    }
  };
  if (!canRecord()) return null;
  const label = recording ? 'Stop and send the voice note' : 'Record a voice note';
  return (
    <button
      type="button"
      class={recording ? 'icon-button recording' : 'icon-button'}
      data-testid="record-voice"
      aria-label={label}
      title={label}
      aria-pressed={recording !== undefined}
      onClick={() => void press()}
    >
      {recording ? <StopIcon /> : <MicrophoneIcon />}
    </button>
  );
}
