-- What signs callbacks by Standard Webhooks.

-- +goose Up

CREATE TABLE signing_keys (
    id         TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    sealed     BYTEA  NOT NULL,                -- a secret and a private key
    created_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL DEFAULT 0       -- from then on it signs no more; 0: it does not end by itself
);
CREATE UNIQUE INDEX signing_keys_newest ON signing_keys (app_id) WHERE retired_at = 0;
CREATE INDEX signing_keys_app ON signing_keys (app_id);

-- +goose Down
SELECT 1;
