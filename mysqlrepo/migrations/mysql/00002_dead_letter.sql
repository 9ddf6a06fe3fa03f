-- +goose Up
-- Messages that group_msg refused, whole, to be tried again by hand.

CREATE TABLE IF NOT EXISTS dead_letter (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  msg_seq            BIGINT        NOT NULL,
  gen                BIGINT        NOT NULL,
  msg_time           BIGINT        NOT NULL,
  error              TEXT          NOT NULL COMMENT 'why it was refused, without its content',
  payload            LONGBLOB      NOT NULL COMMENT 'the message as JSON, its body as base64: whatever the bytes are, they can be kept',
  created_time       BIGINT        NOT NULL,
  PRIMARY KEY (group_id, msg_seq)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
