// Voice notes from the microphone.

const MAX_MS = 60_000;
const ENOUGH_MS = 1000; // who stops sooner would send nothing that can be heard
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
  let from = performance.now();
  let wanted = true;
  const stop = () => {
    if (recorder.state !== 'inactive') recorder.stop();
  };
  const started = new Promise<void>((resolve) => {
    recorder.onstart = () => {
      from = performance.now(); // microphones take a while
      resolve();
    };
  });
  const over = new Promise<{ file: Blob; ms: number } | undefined>((resolve) => {
    recorder.ondataavailable = ({ data }) => parts.push(data);
    recorder.onstop = () => {
      clearTimeout(longest);
      for (const track of stream.getTracks()) track.stop();
      const file = new Blob(parts, { type: mimeType });
      resolve(wanted && file.size > 0 ? { file, ms: Math.round(performance.now() - from) } : undefined);
    };
  });
  const longest = setTimeout(stop, MAX_MS);
  recorder.start();
  return {
    stop: async () => {
      await started;
      setTimeout(stop, ENOUGH_MS - (performance.now() - from));
      return over;
    },
    cancel: () => {
      wanted = false;
      stop();
    },
  };
}
