export type { Direction, SocketConstructor, SocketLike } from './connection';
export { ClosedError, HearthError } from './error';
export { directId, type FollowOptions, type Group, type HistoryOptions, type StreamOptions } from './group';
export {
  connect,
  type Hearth,
  type HotOptions,
  type Listeners,
  type Options,
  type State,
  type StateName,
} from './hearth';
export type { ReaderHooks, Recall } from './reader';
export type { Pending, SendOptions } from './sender';
export { browserStorage, type Storage } from './storage';
export * from './types';
export type { Uploaded, UploadOptions } from './upload';
