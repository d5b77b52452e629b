-- Where an approval was started, and people who said that it was not they.

-- +goose Up

-- As the application told it; '' is not told.
ALTER TABLE approvals ADD COLUMN context_address TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN context_browser TEXT NOT NULL DEFAULT '';
ALTER TABLE approvals ADD COLUMN context_origin  TEXT NOT NULL DEFAULT '';

-- "It was not me": until then the application asks this user nothing, and which grant said so.
ALTER TABLE users ADD COLUMN stopped_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN stopped_by    BIGINT NOT NULL DEFAULT 0;

-- +goose Down
SELECT 1;
