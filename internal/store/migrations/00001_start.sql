-- The first schema. One text for SQLite and PostgreSQL: times are Unix milliseconds in BIGINT with 0 for
-- "never", ids are text made by the program, lists are JSON text that no statement looks into.

-- +goose Up

CREATE TABLE seal_keys (
    id         BIGINT PRIMARY KEY,
    purpose    TEXT   NOT NULL CHECK (purpose IN ('seal', 'hash')),
    wrapped    BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE accounts (
    id          TEXT   PRIMARY KEY,
    name        TEXT   NOT NULL,
    owner_email TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE operators (
    id            TEXT   PRIMARY KEY,
    account_id    TEXT   NOT NULL REFERENCES accounts (id),
    email         TEXT   NOT NULL,
    email_folded  TEXT   NOT NULL UNIQUE,
    password_hash TEXT   NOT NULL,           -- '' for the operator of `dev`, who signs in by link
    totp          BYTEA  NOT NULL,           -- sealed; empty for the operator of `dev`
    totp_step     BIGINT NOT NULL DEFAULT 0, -- highest step accepted
    created_at    BIGINT NOT NULL
);

CREATE TABLE operator_sessions (
    hash        TEXT   PRIMARY KEY,
    operator_id TEXT   NOT NULL REFERENCES operators (id),
    created_at  BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    proved_at   BIGINT NOT NULL              -- when the operator last proved who he is
);

CREATE TABLE setup_links (
    hash       TEXT   PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE applications (
    id                TEXT   PRIMARY KEY,
    serial            BIGINT NOT NULL UNIQUE,
    account_id        TEXT   NOT NULL REFERENCES accounts (id),
    name              TEXT   NOT NULL,
    settings          TEXT   NOT NULL,
    callback_url      TEXT   NOT NULL DEFAULT '',
    callback_version  BIGINT NOT NULL DEFAULT 0,
    callback_strikes  BIGINT NOT NULL DEFAULT 0 CHECK (callback_strikes BETWEEN 0 AND 3),
    disabled_at       BIGINT NOT NULL DEFAULT 0,
    disabled_reason   TEXT   NOT NULL DEFAULT '',
    created_at        BIGINT NOT NULL,
    CHECK (disabled_at = 0 OR callback_url = '')
);
CREATE INDEX applications_account ON applications (account_id, name);

CREATE TABLE api_keys (
    id         TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    hash       TEXT   NOT NULL UNIQUE,
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX api_keys_app ON api_keys (app_id, created_at);

CREATE TABLE users (
    id           TEXT   PRIMARY KEY,
    app_id       TEXT   NOT NULL REFERENCES applications (id),
    authy_id     BIGINT NOT NULL,
    country_code BIGINT NOT NULL,
    phone        TEXT,                        -- E.164; NULL for a user with a bare identity
    email        TEXT   NOT NULL,
    confirmed_at BIGINT NOT NULL DEFAULT 0,   -- first right code
    approved_at  BIGINT NOT NULL DEFAULT 0,   -- last approved approval
    removed_at   BIGINT NOT NULL DEFAULT 0,
    created_at   BIGINT NOT NULL,
    UNIQUE (app_id, authy_id),
    UNIQUE (app_id, phone)
);
CREATE INDEX users_phone ON users (phone);
CREATE INDEX users_newest ON users (app_id, created_at);

CREATE TABLE user_emails (
    user_id  TEXT   NOT NULL REFERENCES users (id),
    email    TEXT   NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, email)
);

CREATE TABLE devices (
    id         TEXT   PRIMARY KEY,
    name       TEXT   NOT NULL,
    platform   TEXT   NOT NULL,
    public_key TEXT   NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    seen_at    BIGINT NOT NULL
);

CREATE TABLE device_sessions (
    hash       TEXT   PRIMARY KEY,
    device_id  TEXT   NOT NULL REFERENCES devices (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX device_sessions_device ON device_sessions (device_id);
CREATE INDEX device_sessions_end ON device_sessions (expires_at);

-- A challenge is consumed once for each key (INV-1).
CREATE TABLE spent_challenges (
    public_key TEXT   NOT NULL,
    challenge  TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (public_key, challenge)
);
CREATE INDEX spent_challenges_end ON spent_challenges (expires_at);

CREATE TABLE grants (
    id         BIGINT PRIMARY KEY,
    device_id  TEXT   NOT NULL REFERENCES devices (id),
    user_id    TEXT   NOT NULL REFERENCES users (id),
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    secret     BYTEA  NOT NULL,               -- sealed TOTP secret
    digits     BIGINT NOT NULL CHECK (digits BETWEEN 6 AND 8),
    period     BIGINT NOT NULL CHECK (period > 0), -- seconds
    last_step  BIGINT NOT NULL DEFAULT 0,     -- highest TOTP step accepted
    method     TEXT   NOT NULL CHECK (method IN ('ticket', 'sms')),
    created_at BIGINT NOT NULL,
    removed_at BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX grants_live ON grants (user_id, device_id) WHERE removed_at = 0;
CREATE INDEX grants_device ON grants (device_id) WHERE removed_at = 0;

CREATE TABLE tickets (
    hash       TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    user_id    TEXT   NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX tickets_end ON tickets (expires_at);
CREATE INDEX tickets_user ON tickets (user_id) WHERE used_at = 0;

CREATE TABLE enrollments (
    id         TEXT   PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    phone      TEXT   NOT NULL,
    code_hash  TEXT   NOT NULL,
    tries_left BIGINT NOT NULL CHECK (tries_left >= 0),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX enrollments_phone ON enrollments (phone, created_at);
CREATE INDEX enrollments_end ON enrollments (expires_at);

CREATE TABLE approvals (
    uuid             TEXT   PRIMARY KEY,
    id               TEXT   NOT NULL,
    app_id           TEXT   NOT NULL REFERENCES applications (id),
    user_id          TEXT   NOT NULL REFERENCES users (id),
    status           TEXT   NOT NULL CHECK (status IN ('pending', 'approved', 'denied', 'expired', 'cancelled')),
    app_name         TEXT   NOT NULL,
    message          TEXT   NOT NULL,
    details          TEXT   NOT NULL,          -- [["name","value"],…]
    hidden           TEXT   NOT NULL,          -- the same, or 'null'
    logos            TEXT   NOT NULL,          -- as given, or 'null'
    logo             TEXT   NOT NULL,          -- digest of the picture shown
    match_mode       TEXT   NOT NULL,
    match_value      TEXT   NOT NULL,
    nonce            TEXT   NOT NULL,
    life             BIGINT NOT NULL,          -- seconds asked for; 0 = never expires
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,          -- 0 = never
    updated_at       BIGINT NOT NULL,
    processed_at     BIGINT NOT NULL DEFAULT 0,
    reason           TEXT   NOT NULL DEFAULT '',
    grant_id         BIGINT NOT NULL DEFAULT 0,
    signed           BYTEA,                    -- canonical bytes of the answer
    signature        TEXT   NOT NULL DEFAULT '',
    idempotency_hash TEXT,
    request_hash     TEXT   NOT NULL DEFAULT '',
    CHECK ((status = 'pending') = (processed_at = 0))
);
CREATE INDEX approvals_user ON approvals (user_id, created_at);
CREATE INDEX approvals_app ON approvals (app_id, created_at);
CREATE INDEX approvals_waiting ON approvals (user_id) WHERE status = 'pending';
CREATE INDEX approvals_end ON approvals (expires_at) WHERE status = 'pending';
CREATE UNIQUE INDEX approvals_idempotency ON approvals (idempotency_hash);

CREATE TABLE sent_codes (
    id         TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    user_id    TEXT   REFERENCES users (id),   -- NULL: phone verification has no user
    address    TEXT   NOT NULL,
    channel    TEXT   NOT NULL,
    hash       TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    tries_left BIGINT NOT NULL CHECK (tries_left >= 0),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL DEFAULT 0,
    ended_at   BIGINT NOT NULL DEFAULT 0       -- a newer one took its place
);
CREATE INDEX sent_codes_user ON sent_codes (user_id, created_at);
CREATE INDEX sent_codes_end ON sent_codes (expires_at);

-- Wrong codes of one subject ("user:<id>") since its last right one.
CREATE TABLE budgets (
    subject      TEXT   PRIMARY KEY,
    wrong        BIGINT NOT NULL,
    locked_until BIGINT NOT NULL,
    level        BIGINT NOT NULL               -- how often it was spent in a row
);

CREATE TABLE jobs (
    id         TEXT   PRIMARY KEY,
    kind       TEXT   NOT NULL,
    app_id     TEXT   NOT NULL,
    ref        TEXT   NOT NULL,
    payload    BYTEA,
    attempts   BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    run_at     BIGINT NOT NULL,                -- due, or end of the lease of who runs it
    held_until BIGINT NOT NULL DEFAULT 0       -- waits for a callback address until then
);
CREATE INDEX jobs_due ON jobs (run_at);
CREATE INDEX jobs_held ON jobs (app_id) WHERE held_until > 0;

CREATE TABLE callback_tries (
    id       TEXT   PRIMARY KEY,
    app_id   TEXT   NOT NULL REFERENCES applications (id),
    uuid     TEXT   NOT NULL,
    url      TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    status   BIGINT NOT NULL,                  -- HTTP status; 0 = no answer
    error    TEXT   NOT NULL,
    took     BIGINT NOT NULL                   -- microseconds
);
CREATE INDEX callback_tries_app ON callback_tries (app_id, at);
CREATE INDEX callback_tries_uuid ON callback_tries (uuid);

CREATE TABLE outbox (
    id     TEXT   PRIMARY KEY,
    at     BIGINT NOT NULL,
    sealed BYTEA  NOT NULL
);
CREATE INDEX outbox_newest ON outbox (at, id);

CREATE TABLE logos (
    digest     TEXT   PRIMARY KEY,
    png        BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE audit (
    id         TEXT   PRIMARY KEY,
    at         BIGINT NOT NULL,
    account_id TEXT   NOT NULL,
    app_id     TEXT   NOT NULL,
    actor      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    target     TEXT   NOT NULL,
    outcome    TEXT   NOT NULL,
    note       TEXT   NOT NULL
);
CREATE INDEX audit_app ON audit (app_id, at);

-- +goose Down
SELECT 1;
