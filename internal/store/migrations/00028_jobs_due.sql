-- The index of before migration 27, which a database that main migrated in November 2026 may lack already.

-- +goose Up

DROP INDEX IF EXISTS jobs_due;

-- +goose Down
SELECT 1;
