-- What waits for an answer is found by indexes that only questions about that name. PostgreSQL's statistics say that nearly nothing waits, and among
-- nothing every index is as good as the other: a decision, which names its one row, was looked for among all requests that waited. That an approval waits
-- its row says twice (its CHECK). The next migration removes the indexes of before, in a transaction of its own: who reads and then writes there would
-- wait for this one, and this one for them. For the same reason no migration takes two tables.

-- +goose Up

CREATE INDEX approvals_unanswered ON approvals (user_id) WHERE processed_at = 0;
CREATE INDEX approvals_ending ON approvals (expires_at) WHERE processed_at = 0 AND expires_at > 0;

-- +goose Down
SELECT 1;
