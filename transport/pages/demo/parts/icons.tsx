// Small drawings; what they mean stands in the label of whatever holds them.

import type { ComponentChildren } from 'preact';

function Icon({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false">
      {children}
    </svg>
  );
}

export function FlameIcon() {
  return (
    <svg class="flame" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false">
      <path
        class="flame-out"
        d="M12 1.5c1 4 6.5 6.8 6.5 12.6a6.5 6.5 0 0 1-13 0c0-3 1.6-4.6 2.7-6.5.5 1.7 1.2 2.6 2.2 3 .2-3.6.4-6.4 1.6-9.1z"
      />
      <path class="flame-in" d="M12 12c.6 2 2.8 3 2.8 5.600a2.800 2.800 0 0 1-5.600 0c0-2 1.800-3.100 2.800-5.600z" />
    </svg>
  );
}

export const StickerIcon = () => (
  <Icon>
    <path d="M4 8a4 4 0 0 1 4-4h8a4 4 0 0 1 4 4v6l-6 6H8a4 4 0 0 1-4-4z" />
    <path d="M14 20v-2a4 4 0 0 1 4-4h2M9 10h.01M15 10h.01M9 14c1 1 2 1.300 3.500 1.300" />
  </Icon>
);

export const PictureIcon = () => (
  <Icon>
    <rect x="3.500" y="4.500" width="17" height="15" rx="2.500" />
    <path d="m4 17 5-5 4 4 2.500-2.500L20 18M15.500 9h.01" />
  </Icon>
);

export const MicrophoneIcon = () => (
  <Icon>
    <rect x="9" y="3" width="6" height="11" rx="3" />
    <path d="M5.500 11.500a6.500 6.500 0 0 0 13 0M12 18v3M9 21h6" />
  </Icon>
);

export const SoundFileIcon = () => (
  <Icon>
    <path d="M9 18V6l10-2v12" />
    <circle cx="6.500" cy="18" r="2.500" />
    <circle cx="16.500" cy="16" r="2.500" />
  </Icon>
);

export const SendIcon = () => (
  <Icon>
    <path d="M4 12 20 4l-5 16-3.500-6.500z" />
    <path d="M11.500 13.500 20 4" />
  </Icon>
);

export const StopIcon = () => (
  <Icon>
    <rect x="6.500" y="6.500" width="11" height="11" rx="2" />
  </Icon>
);
