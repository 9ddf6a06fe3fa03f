-- +goose Up
-- See ../mysql.

CREATE TABLE IF NOT EXISTS recall (
  group_id           TEXT NOT NULL,
  msg_seq            INTEGER NOT NULL,
  recalled_time      INTEGER NOT NULL,
  recalled_by        TEXT NOT NULL,
  PRIMARY KEY (group_id, msg_seq)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS recall_group_time ON recall (group_id, recalled_time, msg_seq);
