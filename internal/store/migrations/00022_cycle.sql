-- Few requests bring an Idempotency-Key. The others need no place in its index, which cost each of them a page written.

-- +goose Up

DROP INDEX approvals_idempotency;
CREATE UNIQUE INDEX approvals_idempotency ON approvals (idempotency_hash) WHERE idempotency_hash IS NOT NULL;

-- +goose Down
SELECT 1;
