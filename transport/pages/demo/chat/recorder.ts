// Voice notes from the microphone.

const MAX_MS = 60_000;
const TYPES = ['audio/webm', 'audio/mp4', 'audio/ogg'];

export interface Recording {
  /** Ends it and gives what was said; undefined when it was thrown away. */
  stop(): Promise<{ file: Blob; ms: number } | undefined>;
  cancel(): void;
}

export function canRecord(): boolean {
  return 'MediaRecorder' in globalThis && navigator.mediaDevices !== undefined;
}

/** Throws when there is no microphone, or the user says no. */
export async function record(): Promise<Recording> {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const mimeType = TYPES.find((type) => MediaRecorder.isTypeSupported(type)) ?? '';
  const recorder = new MediaRecorder(stream, { mimeType });
  const parts: Blob[] = [];
  const from = performance.now();
  let thrownAway = false;
  const over = new Promise<{ file: Blob; ms: number } | undefined>((resolve) => {
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      const ms = Math.round(performance.now() - from);
      const file = new Blob(parts, { type: mimeType });
      resolve(thrownAway || file.size === 0 ? undefined : { file, ms });
    };
  });
  recorder.start();
  const stop = () => {
    if (recorder.state !== 'inactive') recorder.stop();
  };
  setTimeout(stop, MAX_MS);
  return {
    stop: () => {
      stop();
      return over;
    },
    cancel: () => {
      thrownAway = true;
      stop();
    },
  };
}
