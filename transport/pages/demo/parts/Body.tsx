import type { Element } from 'hearth-chat';
import { Sticker } from './Sticker';

export function Body({ body }: { body: Element[] }) {
  return (
    <>
      {body.map((element, n) => (
        <Part key={n} element={element} />
      ))}
    </>
  );
}

function Part({ element }: { element: Element }) {
  switch (element.type) {
    case 'text':
      return <p class="text">{element.text}</p>;
    case 'sticker':
      return <Sticker index={element.index} data={element.data} />;
    case 'image':
      if (!isHere(element.url)) return <Elsewhere what="picture" url={element.url} />;
      return (
        <a href={element.url} target="_blank" rel="noreferrer">
          <img
            class="picture"
            src={element.url}
            alt="sent by a user"
            {...(element.width && element.height && { width: element.width, height: element.height })}
          />
        </a>
      );
    case 'voice':
      if (!isHere(element.url)) return <Elsewhere what="voice note" url={element.url} />;
      return (
        <span class="voice">
          {/* biome-ignore lint/a11y/useMediaCaption: nobody writes captions for voice notes */}
          <audio controls preload="metadata" src={element.url} aria-label="voice note" />
          {element.duration_ms > 0 && <small>{Math.max(1, Math.round(element.duration_ms / 1000))} s</small>}
        </span>
      );
    case 'custom':
      return <span class="elsewhere">{element.desc ?? 'custom'}</span>;
    case 'location':
      return <span class="elsewhere">{element.title ?? `${element.latitude}, ${element.longitude}`}</span>;
    default:
      return <Elsewhere what={element.type} url={element.url} />;
  }
}

/** The page loads nothing from other servers: what lies there is a link. */
function isHere(url: string): boolean {
  return url.startsWith('/') || url.startsWith(`${location.origin}/`);
}

function Elsewhere({ what, url }: { what: string; url: string }) {
  if (!/^(https?:\/\/|\/)/.test(url)) return <span class="elsewhere">{what}</span>;
  return (
    <a class="elsewhere" href={url} target="_blank" rel="noreferrer">
      {what}
    </a>
  );
}
