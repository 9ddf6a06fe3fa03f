export type { Direction, SocketConstructor, SocketLike } from './connection';
export type { Unread } from './conversations';
export { ClosedError, HearthError } from './error';
export { directId, type FollowOptions, type Group, type HistoryOptions, type StreamOptions } from './group';
export {
  connect,
  type Hearth,
  type Listeners,
  type Options,
} from './hearth';
export type { HotOptions } from './hot';
export type { State, StateName } from './link';
export type { ReaderHooks, Recall } from './reader';
export type { Pending, SendOptions } from './sender';
export { browserStorage, type Storage } from './storage';
export * from './types';
export type { Uploaded, UploadOptions } from './upload';
