-- What 00022 replaces.

-- +goose Up

DROP INDEX approvals_idempotency;

-- +goose Down
SELECT 1;
