-- +goose Up
-- See ../mysql.

CREATE INDEX IF NOT EXISTS group_msg_group_recalled ON group_msg (group_id, recalled_time);
