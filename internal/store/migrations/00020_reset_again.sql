-- A reset that was finished is looked for by its user, because who lost the answer may finish it again.

-- +goose Up

CREATE INDEX resets_user ON resets (user_id, ended_at);

-- +goose Down
SELECT 1;
