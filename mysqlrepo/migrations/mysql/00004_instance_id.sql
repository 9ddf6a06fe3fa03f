-- +goose Up
-- An instance is known by its name and the life it is in: two instances of one name never report for each other.

ALTER TABLE instance MODIFY instance_id VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NOT NULL;
ALTER TABLE instance_flushed MODIFY instance_id VARCHAR(96) CHARACTER SET ascii COLLATE ascii_bin NOT NULL;
