-- The index of before migration 25.

-- +goose Up

DROP INDEX jobs_due;

-- +goose Down
SELECT 1;
