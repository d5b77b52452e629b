-- What nodes look for once a second: what has changed in the last seconds.

-- +goose Up

CREATE INDEX approvals_updated ON approvals (updated_at);
CREATE INDEX grants_created ON grants (created_at);
CREATE INDEX grants_ended ON grants (removed_at) WHERE removed_at > 0;

-- +goose Down
SELECT 1;
