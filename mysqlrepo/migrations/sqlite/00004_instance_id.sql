-- +goose Up
-- Its TEXT takes ids of any length; here for the number.
SELECT 1;
