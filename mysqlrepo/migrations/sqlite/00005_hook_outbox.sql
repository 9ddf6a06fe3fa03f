-- +goose Up
-- The tables of ../mysql in SQLite's words.

CREATE TABLE IF NOT EXISTS group_change (
  change_id          INTEGER PRIMARY KEY AUTOINCREMENT,
  partition_id       INTEGER NOT NULL,
  group_id           TEXT NOT NULL,
  payload            TEXT NOT NULL,
  created_time       INTEGER NOT NULL
);

CREATE INDEX IF NOT EXISTS group_change_created_time ON group_change (created_time);

CREATE TABLE IF NOT EXISTS hook_position (
  group_id           TEXT NOT NULL,
  partition_id       INTEGER NOT NULL,
  told_seq           INTEGER NOT NULL,
  last_seq           INTEGER NOT NULL,
  pending            INTEGER NOT NULL,
  PRIMARY KEY (group_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS hook_position_pending_group ON hook_position (pending, group_id);

DROP TABLE IF EXISTS hook_outbox;

CREATE TABLE IF NOT EXISTS hook_outbox (
  hook_id            INTEGER PRIMARY KEY AUTOINCREMENT,
  partition_id       INTEGER NOT NULL,
  group_id           TEXT NOT NULL,
  event              TEXT NOT NULL,
  from_seq           INTEGER NOT NULL,
  to_seq             INTEGER NOT NULL,
  payload            TEXT NOT NULL,
  event_time         INTEGER NOT NULL,
  next_time          INTEGER NOT NULL,
  dead_time          INTEGER NOT NULL DEFAULT 0,
  reason             TEXT NOT NULL DEFAULT ''
);

CREATE INDEX IF NOT EXISTS hook_outbox_group_hook ON hook_outbox (group_id, hook_id);
CREATE INDEX IF NOT EXISTS hook_outbox_dead_group ON hook_outbox (dead_time, group_id, hook_id);
