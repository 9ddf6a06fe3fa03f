// Files as elements of a message: uploaded, with what the others want to know before they load them.

import type { Element, Hearth } from 'hearth-chat';

export async function imageElement(hearth: Hearth, file: File): Promise<Element> {
  const [{ url, bytes }, size] = await Promise.all([hearth.upload(file), sizeOf(file)]);
  return { type: 'image', url, bytes, ...size };
}

export async function voiceElement(hearth: Hearth, file: Blob, name: string, knownMs?: number): Promise<Element> {
  const type = file.type.split(';')[0]!; // without its codecs
  const [{ url, bytes }, duration_ms] = await Promise.all([
    hearth.upload(file, { name, type }),
    knownMs ?? durationOf(file),
  ]);
  return { type: 'voice', url, duration_ms, bytes };
}

async function sizeOf(file: Blob): Promise<{ width?: number; height?: number }> {
  try {
    const { width, height } = await createImageBitmap(file);
    return { width, height };
  } catch {
    return {}; // the others will see what it is
  }
}

/** Milliseconds; 0 when the browser cannot tell. */
function durationOf(file: Blob): Promise<number> {
  const source = URL.createObjectURL(file);
  const audio = new Audio();
  return new Promise<number>((resolve) => {
    audio.onloadedmetadata = () => resolve(Number.isFinite(audio.duration) ? Math.round(audio.duration * 1000) : 0);
    audio.onerror = () => resolve(0);
    audio.src = source;
  }).finally(() => URL.revokeObjectURL(source));
}
