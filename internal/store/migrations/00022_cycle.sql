-- Few requests bring an Idempotency-Key. The others need no place in its index, which cost each of them a page written. The next migration removes
-- the index of before: in a transaction of its own, so that nobody who reads waits while this one is built.

-- +goose Up

CREATE UNIQUE INDEX approvals_idempotency_given ON approvals (idempotency_hash) WHERE idempotency_hash IS NOT NULL;

-- +goose Down
SELECT 1;
