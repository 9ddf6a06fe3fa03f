import { hueOf, initials } from '../chat/names';

export function Avatar({ name }: { name: string }) {
  return (
    <span class="avatar" style={{ '--hue': String(hueOf(name)) }} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
