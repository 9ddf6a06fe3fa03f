-- +goose Up
-- Clients that come back ask what was recalled meanwhile. MySQL has no CREATE INDEX IF NOT EXISTS.

SET @make_index = (
  SELECT IF(COUNT(*) = 0, 'CREATE INDEX group_recalled ON group_msg (group_id, recalled_time)', 'DO 0')
  FROM information_schema.statistics
  WHERE table_schema = DATABASE() AND table_name = 'group_msg' AND index_name = 'group_recalled'
);
PREPARE make_index FROM @make_index;
EXECUTE make_index;
DEALLOCATE PREPARE make_index;
