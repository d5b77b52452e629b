-- The next job of all, too, is found by an index that only that question names: an application's jobs were looked for among everybody's.

-- +goose Up

CREATE INDEX jobs_next ON jobs (run_at) WHERE run_at > 0;

-- +goose Down
SELECT 1;
