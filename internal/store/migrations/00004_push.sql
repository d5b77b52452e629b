-- Web Push: the keys that sign our requests to push services, and each device's subscription.

-- +goose Up

CREATE TABLE push_keys (
    id         BIGINT PRIMARY KEY,            -- 1, 2, …; the highest is the one that devices subscribe with
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE push_subscriptions (
    device_id   TEXT   PRIMARY KEY REFERENCES devices (id),
    id          TEXT   NOT NULL,              -- another one with each subscription: late news of an older one changes nothing
    key_id      BIGINT NOT NULL REFERENCES push_keys (id),
    sealed      BYTEA  NOT NULL,              -- endpoint and keys
    created_at  BIGINT NOT NULL,
    quiet_until BIGINT NOT NULL DEFAULT 0,    -- the push service asked to be left alone until then
    fetched_at  BIGINT NOT NULL DEFAULT 0     -- when the device last read what waits for it
);

ALTER TABLE approvals ADD COLUMN renotified BIGINT NOT NULL DEFAULT 0;
ALTER TABLE approvals ADD COLUMN renotified_at BIGINT NOT NULL DEFAULT 0;

-- +goose Down
SELECT 1;
