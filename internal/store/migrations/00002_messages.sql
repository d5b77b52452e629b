-- What became of each message. Its text is in its job, sealed, and goes with it.

-- +goose Up

CREATE TABLE messages (
    id         TEXT   PRIMARY KEY,               -- its job's
    app_id     TEXT   NOT NULL,                  -- '' for the authenticator's own
    channel    TEXT   NOT NULL,
    address    TEXT   NOT NULL,                  -- masked
    status     TEXT   NOT NULL CHECK (status IN ('queued', 'sent', 'delivered', 'failed', 'expired')),
    gateway    TEXT   NOT NULL DEFAULT '',       -- the last that was tried
    ref        TEXT   NOT NULL DEFAULT '',       -- how the gateway calls it
    reason     TEXT   NOT NULL DEFAULT '',       -- why it failed, or has not been sent yet
    tries      BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX messages_app ON messages (app_id, created_at);
CREATE INDEX messages_status ON messages (app_id, status, created_at);
CREATE INDEX messages_ref ON messages (gateway, ref);
CREATE INDEX messages_age ON messages (created_at);

-- Reports that came before the answer they are about was kept.
CREATE TABLE message_reports (
    gateway TEXT   NOT NULL,
    ref     TEXT   NOT NULL,
    status  TEXT   NOT NULL,
    reason  TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (gateway, ref)
);
CREATE INDEX message_reports_age ON message_reports (at);

-- +goose Down
SELECT 1;
