-- +goose Up
-- Ids are ascii_bin: under a case-insensitive collation the message of `room` would vanish into the row of `Room`.
-- Times are milliseconds since 1970, set by Redis for messages. IF NOT EXISTS because MySQL commits each statement
-- on its own: a migration that was cut off starts again from its top.

CREATE TABLE IF NOT EXISTS group_msg (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  msg_seq            BIGINT        NOT NULL,
  msg_time           BIGINT        NOT NULL,
  type               VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'room, group, direct',
  from_account       VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  operator_account   VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'key of the app server that sent it',
  random             BIGINT        NOT NULL DEFAULT 0,
  client_id          VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  content_hash       VARCHAR(32)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  msg_body           MEDIUMTEXT    CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL COMMENT 'compact JSON, kept as text so that the bytes come back as they were sent',
  mentions           VARCHAR(4000) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '' COMMENT 'users, comma-separated',
  reply_to           BIGINT        NOT NULL DEFAULT 0,
  online_only_flag   TINYINT       NOT NULL DEFAULT 0,
  callback_command   VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  gen                BIGINT        NOT NULL,
  recalled_time      BIGINT        NOT NULL DEFAULT 0,
  recalled_by        VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  created_time       BIGINT        NOT NULL COMMENT 'when this row was written',
  PRIMARY KEY (group_id, msg_seq),
  KEY group_time (group_id, msg_time),
  KEY msg_time (msg_time)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS chat_group (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  type               VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  name               VARCHAR(256)  NOT NULL,
  avatar             VARCHAR(2048) NOT NULL,
  join_mode          VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  owner              VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  attributes         TEXT          NOT NULL COMMENT 'JSON or empty',
  muted              BOOLEAN       NOT NULL DEFAULT FALSE,
  dismissed          BOOLEAN       NOT NULL DEFAULT FALSE COMMENT 'the id is never used again',
  member_limit       INT           NOT NULL,
  member_count       INT           NOT NULL DEFAULT 0 COMMENT 'without blocked users',
  version            BIGINT        NOT NULL COMMENT 'raised by every change of the group or its members',
  created_time       BIGINT        NOT NULL,
  created_gen        BIGINT        NOT NULL COMMENT 'generation of its partition, the only one in which it starts at seq 0',
  PRIMARY KEY (group_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS group_member (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id            VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  role               VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'owner, admin, member, or blocked, who is no member',
  mute_until         BIGINT        NOT NULL DEFAULT 0 COMMENT '-1: for ever',
  joined_time        BIGINT        NOT NULL,
  PRIMARY KEY (group_id, user_id),
  KEY user_group (user_id, group_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS group_read (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  user_id            VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  read_seq           BIGINT        NOT NULL COMMENT 'never falls',
  PRIMARY KEY (group_id, user_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS generation (
  partition_id       INT           NOT NULL,
  gen                BIGINT        NOT NULL COMMENT 'never falls',
  server             VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'master_replid it was raised on',
  settled            BIGINT        NOT NULL COMMENT 'nothing older may be inserted',
  PRIMARY KEY (partition_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS instance (
  instance_id        VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  heartbeat_time     BIGINT        NOT NULL,
  PRIMARY KEY (instance_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS instance_flushed (
  instance_id        VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  partition_id       INT           NOT NULL,
  gen                BIGINT        NOT NULL COMMENT 'the journal of everything older is written',
  PRIMARY KEY (instance_id, partition_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS seq_seed (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  gen                BIGINT        NOT NULL,
  start_seq          BIGINT        NOT NULL COMMENT 'the first message of this generation gets the next one',
  PRIMARY KEY (group_id, gen)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS seq_hole (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  from_seq           BIGINT        NOT NULL,
  to_seq             BIGINT        NOT NULL COMMENT 'inclusive',
  reason             VARCHAR(16)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL COMMENT 'lost, expired',
  PRIMARY KEY (group_id, from_seq)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS hook_outbox (
  id                 BIGINT        NOT NULL AUTO_INCREMENT,
  event              VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  version            BIGINT        NOT NULL COMMENT 'of the group, by the change that wrote this',
  payload            MEDIUMTEXT    NOT NULL,
  attempts           INT           NOT NULL DEFAULT 0,
  next_time          BIGINT        NOT NULL,
  created_time       BIGINT        NOT NULL,
  PRIMARY KEY (id),
  KEY next_time (next_time)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS setting (
  name               VARCHAR(64)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  value              TEXT          NOT NULL,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
