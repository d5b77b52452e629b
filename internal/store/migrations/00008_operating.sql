-- What operating needs: keys that retire.

-- +goose Up

ALTER TABLE seal_keys ADD COLUMN retired_at BIGINT NOT NULL DEFAULT 0; -- since when nothing is sealed under it

-- +goose Down
SELECT 1;
