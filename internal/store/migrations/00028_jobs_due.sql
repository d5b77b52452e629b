-- The index of before migration 27.

-- +goose Up

DROP INDEX IF EXISTS jobs_due;

-- +goose Down
SELECT 1;
