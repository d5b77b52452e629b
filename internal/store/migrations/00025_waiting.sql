-- What waits for an answer, and the next job of all, are found by indexes that only questions about that name. PostgreSQL's statistics say that nearly
-- nothing waits, and among nothing every index is as good as the other: a decision, which names its one row, was looked for among all requests that
-- waited, and an application's jobs among everybody's. That an approval waits its row says twice (its CHECK).

-- +goose Up

CREATE INDEX approvals_unanswered ON approvals (user_id) WHERE processed_at = 0;
CREATE INDEX approvals_ending ON approvals (expires_at) WHERE processed_at = 0 AND expires_at > 0;
CREATE INDEX jobs_next ON jobs (run_at) WHERE run_at > 0;
DROP INDEX approvals_waiting; -- last, so that who reads waits for no index to be built
DROP INDEX approvals_end;
DROP INDEX jobs_due;

-- +goose Down
SELECT 1;
