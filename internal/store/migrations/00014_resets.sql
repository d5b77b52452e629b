-- The way back for people who lost everything: asked for by the application, allowed by an operator, and after a wait a new start.

-- +goose Up

CREATE TABLE resets (
    id         TEXT   PRIMARY KEY,
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    user_id    TEXT   NOT NULL REFERENCES users (id),
    asked_at   BIGINT NOT NULL,
    allowed_at BIGINT NOT NULL DEFAULT 0,  -- by an operator
    due_at     BIGINT NOT NULL DEFAULT 0,  -- from when on it can be finished
    lapses_at  BIGINT NOT NULL,            -- nobody needs it after that
    ended_at   BIGINT NOT NULL DEFAULT 0,
    outcome    TEXT   NOT NULL DEFAULT '' CHECK (outcome IN ('', 'finished', 'stopped', 'refused', 'lapsed', 'removed'))
);
CREATE UNIQUE INDEX resets_open ON resets (user_id) WHERE ended_at = 0;
CREATE INDEX resets_app ON resets (app_id, asked_at) WHERE ended_at = 0;
CREATE INDEX resets_lapses ON resets (lapses_at);

-- +goose Down
SELECT 1;
