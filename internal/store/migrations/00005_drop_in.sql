-- What the whole of the Authy API needs beside log-ins: activities, codes of other authenticator apps, monthly figures,
-- phone verification.

-- +goose Up

CREATE TABLE activities (
    id      TEXT   PRIMARY KEY,
    app_id  TEXT   NOT NULL REFERENCES applications (id),
    user_id TEXT   NOT NULL REFERENCES users (id),
    at      BIGINT NOT NULL,
    type    TEXT   NOT NULL,
    data    TEXT   NOT NULL,                   -- JSON, as the application told it
    ip      TEXT   NOT NULL
);
CREATE INDEX activities_user ON activities (user_id, at);
CREATE INDEX activities_end ON activities (at);

-- The secret that a user scanned into another authenticator app. A new one stands beside the old one until its first right code.
CREATE TABLE generic_secrets (
    id           BIGINT PRIMARY KEY,
    app_id       TEXT   NOT NULL REFERENCES applications (id),
    user_id      TEXT   NOT NULL REFERENCES users (id),
    secret       BYTEA  NOT NULL,              -- sealed
    digits       BIGINT NOT NULL CHECK (digits BETWEEN 6 AND 8),
    period       BIGINT NOT NULL CHECK (period > 0), -- seconds
    last_step    BIGINT NOT NULL DEFAULT 0,    -- highest TOTP step accepted
    created_at   BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL DEFAULT 0     -- first right code
);
CREATE INDEX generic_secrets_user ON generic_secrets (user_id);

-- Figures of one application in one month, added to by sweeps of every process.
CREATE TABLE usage_months (
    app_id    TEXT   NOT NULL REFERENCES applications (id),
    month     BIGINT NOT NULL,                 -- months since year 0
    sms       BIGINT NOT NULL,
    calls     BIGINT NOT NULL,
    users     BIGINT NOT NULL,
    auths     BIGINT NOT NULL,
    api_calls BIGINT NOT NULL,
    PRIMARY KEY (app_id, month)
);

-- Phone verification has no user: a code belongs to (application, address).
CREATE INDEX sent_codes_address ON sent_codes (app_id, address, created_at) WHERE user_id IS NULL;

CREATE INDEX grants_removed ON grants (user_id, removed_at) WHERE removed_at > 0;

-- +goose Down
SELECT 1;
