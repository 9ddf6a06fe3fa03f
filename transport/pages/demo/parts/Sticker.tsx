// The stickers. A message carries the number of one: how it looks is the client's affair.

import type { JSX } from 'preact';

interface Drawing {
  name: string;
  picture: JSX.Element;
}

const fire = '#ff7a2f';
const gold = '#ffc531';
const red = '#e8434f';
const blue = '#5a8dee';
const green = '#3fb27f';
const dark = '#3a2b28';

export const STICKERS: Drawing[] = [
  {
    name: 'fire',
    picture: (
      <>
        <path fill={fire} d="M24 3c2 8 13 14 13 25a13 13 0 0 1-26 0c0-6 3-9 5-13 1 3 2.500 5 5 6 0-7 1-13 3-18z" />
        <path fill={gold} d="M24 23c1 4 6 6 6 11a6 6 0 0 1-12 0c0-4 4-6 6-11z" />
      </>
    ),
  },
  {
    name: 'tea',
    picture: (
      <>
        <path
          d="M17 5c3 3-3 5 0 8M25 5c3 3-3 5 0 8"
          fill="none"
          stroke={blue}
          stroke-width="3"
          stroke-linecap="round"
        />
        <path d="M34 21h3a5 5 0 0 1 0 11h-4" fill="none" stroke={green} stroke-width="4" />
        <path fill={green} d="M8 17h27v14a9 9 0 0 1-9 9h-9a9 9 0 0 1-9-9z" />
        <rect x="5" y="41" width="33" height="4" rx="2" fill={dark} />
      </>
    ),
  },
  {
    name: 'heart',
    picture: <path fill={red} d="M24 43C9 32 4 25 4 17a10 10 0 0 1 20-3 10 10 0 0 1 20 3c0 8-5 15-20 26z" />,
  },
  {
    name: 'star',
    picture: (
      <path fill={gold} d="m24 3 6.500 13.500L45 18.500 34.500 29 37 44l-13-7-13 7 2.500-15L3 18.500l14.500-2z" />
    ),
  },
  {
    name: 'cat',
    picture: (
      <>
        <path fill={dark} d="M7 6l9 7h16l9-7v22a17 17 0 0 1-34 0z" />
        <circle cx="17" cy="25" r="3.500" fill={gold} />
        <circle cx="31" cy="25" r="3.500" fill={gold} />
        <path fill={red} d="M21.500 31h5L24 34.500z" />
        <path
          d="M24 34c-1 4-5 4-6 2M24 34c1 4 5 4 6 2"
          fill="none"
          stroke="#fff"
          stroke-width="1.800"
          stroke-linecap="round"
        />
      </>
    ),
  },
  {
    name: 'moon',
    picture: (
      <>
        <path fill={blue} d="M30 4a20 20 0 1 0 14 29A17 17 0 0 1 30 4z" />
        <path fill={gold} d="m38 8 1.500 4 4 1.500-4 1.500L38 19l-1.500-4-4-1.500 4-1.500z" />
      </>
    ),
  },
  {
    name: 'thumbs up',
    picture: (
      <>
        <rect x="4" y="21" width="9" height="22" rx="3" fill={blue} />
        <path
          fill={gold}
          d="M16 22 24 4c5 0 6 4 5 8l-1.500 6H39a4.500 4.500 0 0 1 4.500 5.500l-3 15A6 6 0 0 1 34.500 43H16z"
        />
      </>
    ),
  },
  {
    name: 'music',
    picture: (
      <>
        <path d="M17 37V10l22-5v27" fill="none" stroke={dark} stroke-width="4" stroke-linejoin="round" />
        <ellipse cx="12" cy="37" rx="7" ry="5.500" fill={fire} />
        <ellipse cx="34" cy="32" rx="7" ry="5.500" fill={red} />
      </>
    ),
  },
];

/** One of them, by its number; of another client's stickers the word is shown. */
export function Sticker({ index, data }: { index?: number | undefined; data?: string | undefined }) {
  const drawing = index === undefined ? undefined : STICKERS[index];
  if (!drawing) return <span class="elsewhere">sticker {data ?? index}</span>;
  return (
    <svg class="sticker" viewBox="0 0 48 48" width="72" height="72" role="img" aria-label={`sticker: ${drawing.name}`}>
      {drawing.picture}
    </svg>
  );
}
