-- The indexes of before migration 25.

-- +goose Up

DROP INDEX approvals_waiting;
DROP INDEX approvals_end;

-- +goose Down
SELECT 1;
