// Files: ask for a place, put the bytes there, and send its URL as a message.

import type { Element } from 'hearth-chat';
import type { Door } from './door';

interface Slot {
  upload_url: string;
  method: string;
  headers: Record<string, string>;
  url: string;
}

export async function upload(door: Door, file: Blob, name: string): Promise<string> {
  const content_type = file.type.split(';')[0] || 'application/octet-stream';
  const slot = await door.request<Slot>('POST', '/v1/uploads', { name, content_type, bytes: file.size });
  const put = await fetch(slot.upload_url, { method: slot.method, headers: slot.headers, body: file });
  if (!put.ok) throw new Error(`the upload was refused (${put.status})`);
  return slot.url;
}

export async function imageElement(file: File, uploaded: Promise<string>): Promise<Element> {
  const [url, size] = await Promise.all([uploaded, sizeOf(file)]);
  return { type: 'image', url, bytes: file.size, ...size };
}

export async function voiceElement(file: Blob, uploaded: Promise<string>, knownMs?: number): Promise<Element> {
  const [url, duration_ms] = await Promise.all([uploaded, knownMs ?? durationOf(file)]);
  return { type: 'voice', url, duration_ms, bytes: file.size };
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
