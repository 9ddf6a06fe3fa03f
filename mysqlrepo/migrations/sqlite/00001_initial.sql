-- +goose Up
-- The schema of ../mysql in SQLite's words; TEXT compares bytes, as ascii_bin does.

CREATE TABLE IF NOT EXISTS group_msg (
  group_id           TEXT NOT NULL,
  msg_seq            INTEGER NOT NULL,
  msg_time           INTEGER NOT NULL,
  type               TEXT NOT NULL DEFAULT '',
  from_account       TEXT NOT NULL,
  operator_account   TEXT NOT NULL DEFAULT '',
  random             INTEGER NOT NULL DEFAULT 0,
  client_id          TEXT NOT NULL DEFAULT '',
  content_hash       TEXT NOT NULL,
  msg_body           TEXT NOT NULL,
  mentions           TEXT NOT NULL DEFAULT '',
  reply_to           INTEGER NOT NULL DEFAULT 0,
  online_only_flag   INTEGER NOT NULL DEFAULT 0,
  callback_command   TEXT NOT NULL DEFAULT '',
  gen                INTEGER NOT NULL,
  recalled_time      INTEGER NOT NULL DEFAULT 0,
  recalled_by        TEXT NOT NULL DEFAULT '',
  created_time       INTEGER NOT NULL,
  PRIMARY KEY (group_id, msg_seq)
);

CREATE INDEX IF NOT EXISTS group_msg_group_time ON group_msg (group_id, msg_time);
CREATE INDEX IF NOT EXISTS group_msg_msg_time ON group_msg (msg_time);

CREATE TABLE IF NOT EXISTS chat_group (
  group_id           TEXT NOT NULL,
  type               TEXT NOT NULL,
  name               TEXT NOT NULL,
  avatar             TEXT NOT NULL,
  join_mode          TEXT NOT NULL,
  owner              TEXT NOT NULL,
  attributes         TEXT NOT NULL,
  muted              BOOLEAN NOT NULL DEFAULT FALSE,
  dismissed          BOOLEAN NOT NULL DEFAULT FALSE,
  member_limit       INTEGER NOT NULL,
  member_count       INTEGER NOT NULL DEFAULT 0,
  version            INTEGER NOT NULL,
  created_time       INTEGER NOT NULL,
  created_gen        INTEGER NOT NULL,
  PRIMARY KEY (group_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS group_member (
  group_id           TEXT NOT NULL,
  user_id            TEXT NOT NULL,
  role               TEXT NOT NULL,
  mute_until         INTEGER NOT NULL DEFAULT 0,
  joined_time        INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS group_member_user_group ON group_member (user_id, group_id);

CREATE TABLE IF NOT EXISTS group_read (
  group_id           TEXT NOT NULL,
  user_id            TEXT NOT NULL,
  read_seq           INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS generation (
  partition_id       INTEGER NOT NULL,
  gen                INTEGER NOT NULL,
  server             TEXT NOT NULL,
  settled            INTEGER NOT NULL,
  PRIMARY KEY (partition_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS instance (
  instance_id        TEXT NOT NULL,
  heartbeat_time     INTEGER NOT NULL,
  PRIMARY KEY (instance_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS instance_flushed (
  instance_id        TEXT NOT NULL,
  partition_id       INTEGER NOT NULL,
  gen                INTEGER NOT NULL,
  PRIMARY KEY (instance_id, partition_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS seq_seed (
  group_id           TEXT NOT NULL,
  gen                INTEGER NOT NULL,
  start_seq          INTEGER NOT NULL,
  PRIMARY KEY (group_id, gen)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS seq_hole (
  group_id           TEXT NOT NULL,
  from_seq           INTEGER NOT NULL,
  to_seq             INTEGER NOT NULL,
  reason             TEXT NOT NULL,
  PRIMARY KEY (group_id, from_seq)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS hook_outbox (
  id                 INTEGER PRIMARY KEY AUTOINCREMENT,
  event              TEXT NOT NULL,
  group_id           TEXT NOT NULL,
  version            INTEGER NOT NULL,
  payload            TEXT NOT NULL,
  attempts           INTEGER NOT NULL DEFAULT 0,
  next_time          INTEGER NOT NULL,
  created_time       INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS hook_outbox_next_time ON hook_outbox (next_time);

CREATE TABLE IF NOT EXISTS setting (
  name               TEXT NOT NULL,
  value              TEXT NOT NULL,
  PRIMARY KEY (name)
) WITHOUT ROWID;
