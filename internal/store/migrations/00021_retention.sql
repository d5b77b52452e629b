-- What finds the rows that leave, and where the audit record begins since some of it left.

-- +goose Up

CREATE INDEX approvals_finished ON approvals (processed_at) WHERE processed_at > 0;
CREATE INDEX jobs_callback ON jobs (ref) WHERE kind = 'callback'; -- whether one is still to be tried
CREATE INDEX budgets_number ON budgets (locked_until) WHERE substr(subject, 1, 6) = 'phone:';
CREATE INDEX audit_checkpoints_at ON audit_checkpoints (at);

-- The checkpoint up to which links left, signed once more for that: one row, or none.
CREATE TABLE audit_beginning (
    one       BIGINT PRIMARY KEY CHECK (one = 1),
    seq       BIGINT NOT NULL,
    hash      TEXT   NOT NULL,
    at        BIGINT NOT NULL,
    signature TEXT   NOT NULL
);

-- +goose Down
SELECT 1;
