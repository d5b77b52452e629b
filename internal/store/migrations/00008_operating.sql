-- What operating needs: keys that retire, the audit record's chain, and the trace that an approval is part of.

-- +goose Up

ALTER TABLE seal_keys ADD COLUMN retired_at BIGINT NOT NULL DEFAULT 0; -- since when nothing is sealed under it

ALTER TABLE audit ADD COLUMN seq BIGINT;                    -- its place in the chain; NULL: not linked yet
ALTER TABLE audit ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX audit_chain ON audit (seq);
CREATE INDEX audit_unlinked ON audit (id) WHERE seq IS NULL;

-- The newest link, and who may add to it: one row.
CREATE TABLE audit_head (
    one         BIGINT PRIMARY KEY CHECK (one = 1),
    seq         BIGINT NOT NULL,
    hash        TEXT   NOT NULL,
    holder      TEXT   NOT NULL,
    lease_until BIGINT NOT NULL
);

CREATE TABLE audit_checkpoints (
    seq       BIGINT PRIMARY KEY,             -- of the newest link that it covers
    hash      TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    signature TEXT   NOT NULL
);

-- Whose callbacks failed lately, for the doctor.
CREATE INDEX applications_struck ON applications (name) WHERE callback_strikes > 0 OR disabled_at > 0;

-- W3C traceparent of who asked for it; '' = not traced.
ALTER TABLE approvals ADD COLUMN trace TEXT NOT NULL DEFAULT '';
ALTER TABLE jobs ADD COLUMN trace TEXT NOT NULL DEFAULT '';

-- +goose Down
SELECT 1;
