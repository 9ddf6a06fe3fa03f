-- +goose Up
-- The table of ../mysql in SQLite's words.

CREATE TABLE IF NOT EXISTS dead_letter (
  group_id           TEXT NOT NULL,
  msg_seq            INTEGER NOT NULL,
  gen                INTEGER NOT NULL,
  msg_time           INTEGER NOT NULL,
  error              TEXT NOT NULL,
  payload            BLOB NOT NULL,
  created_time       INTEGER NOT NULL,
  PRIMARY KEY (group_id, msg_seq)
) WITHOUT ROWID;
