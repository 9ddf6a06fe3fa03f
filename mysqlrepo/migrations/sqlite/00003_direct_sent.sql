-- +goose Up
-- See ../mysql.

CREATE TABLE IF NOT EXISTS direct_sent (
  group_id           TEXT NOT NULL,
  user_id            TEXT NOT NULL,
  sent               INTEGER NOT NULL,
  PRIMARY KEY (group_id, user_id)
) WITHOUT ROWID;
