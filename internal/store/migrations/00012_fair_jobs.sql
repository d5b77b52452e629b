-- What finds each application's due jobs, so that no one's backlog delays another's.

-- +goose Up

CREATE INDEX jobs_app ON jobs (app_id, run_at) WHERE held_until = 0;

-- +goose Down
SELECT 1;
