-- Whom a set-up link is for: an address that was invited ('' for the first operator, whoever that is), or an operator who is set up anew.

-- +goose Up

ALTER TABLE setup_links ADD COLUMN email       TEXT NOT NULL DEFAULT ''; -- folded
ALTER TABLE setup_links ADD COLUMN operator_id TEXT NOT NULL DEFAULT ''; -- '' makes a new one

-- +goose Down
SELECT 1;
