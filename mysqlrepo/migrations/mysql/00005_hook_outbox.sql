-- +goose Up
-- What was changed and has to be told: changes of groups until Redis has them, events until the webhooks' receiver has them.

CREATE TABLE IF NOT EXISTS group_change (
  change_id          BIGINT        NOT NULL AUTO_INCREMENT,
  partition_id       INT           NOT NULL,
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  payload            MEDIUMTEXT    NOT NULL COMMENT 'JSON: the change and what is told of it',
  created_time       BIGINT        NOT NULL COMMENT 'by the clock of this database',
  PRIMARY KEY (change_id),
  KEY created_time (created_time)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Messages are their own outbox: of each group no more is kept than how far it was told.
CREATE TABLE IF NOT EXISTS hook_position (
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  partition_id       INT           NOT NULL,
  told_seq           BIGINT        NOT NULL COMMENT 'everything up to here was told or given up',
  last_seq           BIGINT        NOT NULL COMMENT 'highest seq that is there to be told',
  pending            BOOLEAN       NOT NULL COMMENT 'last_seq > told_seq',
  PRIMARY KEY (group_id),
  KEY pending_group (pending, group_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Everything else that is to be told, in the order of its ids; and what was given up, messages as ranges. The first
-- schema had another table of that name, which nothing ever wrote.
DROP TABLE IF EXISTS hook_outbox;
CREATE TABLE IF NOT EXISTS hook_outbox (
  hook_id            BIGINT        NOT NULL AUTO_INCREMENT,
  partition_id       INT           NOT NULL,
  group_id           VARCHAR(132)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  event              VARCHAR(32)   CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  from_seq           BIGINT        NOT NULL COMMENT 'of after_send and recalled; otherwise 0',
  to_seq             BIGINT        NOT NULL COMMENT 'of a change the last message before it',
  payload            MEDIUMTEXT    NOT NULL COMMENT 'JSON: the data of the event; empty for after_send, whose messages are rows',
  event_time         BIGINT        NOT NULL COMMENT 'when it happened',
  next_time          BIGINT        NOT NULL COMMENT 'from when on it is to be told: what is not for a day is given up',
  dead_time          BIGINT        NOT NULL DEFAULT 0 COMMENT 'when it was given up; 0: it was not',
  reason             VARCHAR(255)  NOT NULL DEFAULT '' COMMENT 'why it was given up',
  PRIMARY KEY (hook_id),
  KEY group_hook (group_id, hook_id),
  KEY dead_group (dead_time, group_id, hook_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
