-- The last tries of each webhook, which its page in the console shows.

-- +goose Up

CREATE TABLE webhook_tries (
    webhook_id TEXT   NOT NULL REFERENCES webhooks (id),
    id         TEXT   NOT NULL,                -- sorts by time
    record_id  TEXT   NOT NULL,                -- the audit record whose event it told
    event      TEXT   NOT NULL,
    at         BIGINT NOT NULL,
    status     BIGINT NOT NULL,                -- HTTP status; 0 = no answer
    error      TEXT   NOT NULL,
    took       BIGINT NOT NULL,                -- microseconds
    PRIMARY KEY (webhook_id, id)
);

-- +goose Down
SELECT 1;
