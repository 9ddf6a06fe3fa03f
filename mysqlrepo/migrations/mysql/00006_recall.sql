-- +goose Up
-- What was recalled when: clients that come back ask. Not an index of group_msg, which every message would pay for.

CREATE TABLE IF NOT EXISTS recall (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  msg_seq            BIGINT        NOT NULL,
  recalled_time      BIGINT        NOT NULL,
  recalled_by        VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  PRIMARY KEY (group_id, msg_seq),
  KEY group_time (group_id, recalled_time, msg_seq)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
