-- The next job of all, too, is found by an index that only that question names: an application's jobs were looked for among everybody's. For a day
-- migration 25 made this index and 27 did what 28 does, hence IF.

-- +goose Up

CREATE INDEX IF NOT EXISTS jobs_next ON jobs (run_at) WHERE run_at > 0;

-- +goose Down
SELECT 1;
