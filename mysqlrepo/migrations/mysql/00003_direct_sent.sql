-- +goose Up
-- What both sides of a direct conversation had written themselves in rows that retention has deleted: the stranger
-- limit goes on counting it.

CREATE TABLE IF NOT EXISTS direct_sent (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id            VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  sent               INT           NOT NULL COMMENT 'counted up to 1000',
  PRIMARY KEY (group_id, user_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
