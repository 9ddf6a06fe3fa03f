// A message's body in a line of text: operators see what is there without loading it.

import type { Element } from 'hearth-chat';
import { bytes, latency } from './format';

export interface Part {
  text: string;
  /** What kind of thing it stands for, when it is no text. */
  label?: string;
  /** Where it lies, when that is safe to open. */
  url?: string;
}

export function parts(body: readonly Element[]): Part[] {
  return body.map(part);
}

function part(e: Element): Part {
  switch (e.type) {
    case 'text':
      return { text: e.text };
    case 'sticker':
      return thing('sticker', e.data ?? (e.index === undefined ? '' : `no. ${e.index}`), e.url);
    case 'voice':
      return thing('voice', latency(e.duration_ms), e.url);
    case 'image':
      return thing('picture', e.width && e.height ? `${e.width} × ${e.height}` : '', e.url);
    case 'video':
      return thing('video', latency(e.duration_ms), e.url);
    case 'file':
      return thing('file', `${e.name}, ${bytes(e.bytes)}`, e.url);
    case 'location':
      return thing('place', e.title ?? `${e.latitude}, ${e.longitude}`);
    case 'custom':
      return thing('custom', e.desc ?? JSON.stringify(e.data).slice(0, 200));
    default:
      return thing(String((e as { type: unknown }).type), '');
  }
}

function thing(label: string, text: string, url?: string): Part {
  return url && /^(https?:\/\/|\/(?!\/))/.test(url) ? { label, text, url } : { label, text };
}
