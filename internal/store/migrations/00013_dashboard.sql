-- The dashboard API: its credentials, and webhooks that are told of events. And registration by token.

-- +goose Up

CREATE TABLE access_keys (
    id         TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    hash       TEXT   NOT NULL UNIQUE,         -- keyed, of the access key
    sealed     BYTEA  NOT NULL,                -- the access key and what signs requests with it
    created_at BIGINT NOT NULL
);
CREATE INDEX access_keys_app ON access_keys (app_id);

CREATE TABLE webhooks (
    id            TEXT   PRIMARY KEY,
    app_id        TEXT   NOT NULL REFERENCES applications (id),
    name          TEXT   NOT NULL,
    url           TEXT   NOT NULL,
    sealed        BYTEA  NOT NULL,             -- what signs its events
    created_at    BIGINT NOT NULL,
    told_at       BIGINT NOT NULL DEFAULT 0,   -- the last delivery, to the minute
    failing_since BIGINT NOT NULL DEFAULT 0,   -- the first try since then that failed; 0: none did
    paused_at     BIGINT NOT NULL DEFAULT 0,   -- 0: it is told of events
    reason        TEXT   NOT NULL DEFAULT ''   -- of the last failure
);
CREATE INDEX webhooks_app ON webhooks (app_id);

-- Who is told of an event: asked with each audit record that is one.
CREATE TABLE webhook_events (
    app_id     TEXT NOT NULL REFERENCES applications (id),
    event      TEXT NOT NULL,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id),
    PRIMARY KEY (app_id, event, webhook_id)
);
CREATE INDEX webhook_events_webhook ON webhook_events (webhook_id);

-- Who was registered by a token: under what name of the application, and what the last token gave.
CREATE TABLE registrations (
    app_id    TEXT   NOT NULL REFERENCES applications (id),
    custom_id TEXT   NOT NULL,
    user_id   TEXT   NOT NULL REFERENCES users (id),
    token     TEXT   NOT NULL,                 -- keyed hash of the last token
    issued_at BIGINT NOT NULL,                 -- and when that was made: an older one counts no longer
    ticket    TEXT   NOT NULL,                 -- hash of the ticket that it gave
    PRIMARY KEY (app_id, custom_id)
);

-- +goose Down
SELECT 1;
