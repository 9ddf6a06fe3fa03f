-- +goose Up
-- Who is mentioned in messages that are not recalled; '*' is everybody. A row a mention, however many members there are.

CREATE TABLE IF NOT EXISTS mention (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id            VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  msg_seq            BIGINT        NOT NULL,
  PRIMARY KEY (group_id, user_id, msg_seq),
  KEY group_seq (group_id, msg_seq)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
