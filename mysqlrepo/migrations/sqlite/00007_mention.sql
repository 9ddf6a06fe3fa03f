-- +goose Up
-- See ../mysql.

CREATE TABLE IF NOT EXISTS mention (
  group_id           TEXT NOT NULL,
  user_id            TEXT NOT NULL,
  msg_seq            INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id, msg_seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mention_group_seq ON mention (group_id, msg_seq);
