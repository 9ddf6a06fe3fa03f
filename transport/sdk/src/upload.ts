import { repeat } from './backoff';
import type { Http } from './http';

export interface UploadOptions {
  /** The file's name; without it that of the File. */
  name?: string;
  /** The content type; without it that of the Blob. */
  type?: string;
  /** Gives up. */
  signal?: AbortSignal;
}

/** A file that the server has. */
export interface Uploaded {
  /** What messages take: a path of the server, see Hearth.absolute. */
  url: string;
  name: string;
  type: string;
  bytes: number;
}

interface Slot {
  upload_url: string;
  headers: Record<string, string>;
  url: string;
}

/** Uploads, with a place of its own for every attempt, until the server has it or a no that stays. */
export async function upload(
  http: Http,
  file: Blob | Uint8Array | ArrayBuffer,
  options: UploadOptions,
): Promise<Uploaded> {
  const blob = 'size' in file ? file : undefined;
  const bytes = 'size' in file ? file.size : file.byteLength;
  const name = options.name || (blob as File | undefined)?.name || 'file';
  const type = options.type || blob?.type || 'application/octet-stream';
  const { signal } = options;
  const attempt = async () => {
    const slot = (await http.request('POST', '/uploads', { name, content_type: type, bytes }, signal)) as Slot;
    await http.put(slot.upload_url, slot.headers, file as BodyInit, signal);
    return { url: slot.url, name, type, bytes };
  };
  return repeat(attempt, signal, http.left);
}
