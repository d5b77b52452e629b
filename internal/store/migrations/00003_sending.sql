-- Limits before anything is sent (T-30). Money is millionths of the gateway's currency.

-- +goose Up

-- What left in the last day: what the rules of numbers, prefixes and addresses look at. Rows go after 25 hours.
CREATE TABLE sends (
    id         TEXT   PRIMARY KEY,
    account_id TEXT   NOT NULL REFERENCES accounts (id),
    app_id     TEXT   NOT NULL REFERENCES applications (id),
    number     TEXT   NOT NULL,            -- E.164, or a mail address
    channel    TEXT   NOT NULL,
    country    TEXT   NOT NULL,            -- ISO 3166; 'email' for mail
    prefix     TEXT   NOT NULL,            -- the number without its last four digits
    address    TEXT   NOT NULL,            -- network of the end user, '' when not told
    at         BIGINT NOT NULL,
    typed      BIGINT NOT NULL DEFAULT 0   -- 1: somebody typed a code that this number was sent
);
CREATE INDEX sends_number ON sends (account_id, number, at);
CREATE INDEX sends_prefix ON sends (app_id, prefix, at);
CREATE INDEX sends_country ON sends (app_id, country, at);
CREATE INDEX sends_address ON sends (app_id, address, at) WHERE address <> '';
CREATE INDEX sends_at ON sends (at);

-- What an application's budgets have used in one hour ('hour') or day ('day'), in UTC; country '' is all of them.
CREATE TABLE send_budgets (
    app_id   TEXT   NOT NULL REFERENCES applications (id),
    country  TEXT   NOT NULL,
    span     TEXT   NOT NULL CHECK (span IN ('hour', 'day')),
    began    BIGINT NOT NULL,
    messages BIGINT NOT NULL,
    cost     BIGINT NOT NULL,
    PRIMARY KEY (app_id, country, span, began)
);
CREATE INDEX send_budgets_began ON send_budgets (began);

-- Where sending is paused, because nobody there types the codes; closed again when its time is over.
CREATE TABLE send_pauses (
    app_id TEXT   NOT NULL REFERENCES applications (id),
    scope  TEXT   NOT NULL CHECK (scope IN ('country', 'prefix')),
    place  TEXT   NOT NULL,
    until  BIGINT NOT NULL,
    level  BIGINT NOT NULL,                -- how many pauses in a row came before
    sent   BIGINT NOT NULL,                -- in the sample that opened it
    typed  BIGINT NOT NULL,
    PRIMARY KEY (app_id, scope, place)
);
CREATE INDEX send_pauses_until ON send_pauses (until);

-- How many messages were refused on a day (UTC), by the code of the rule.
CREATE TABLE send_refusals (
    app_id  TEXT   NOT NULL REFERENCES applications (id),
    day     BIGINT NOT NULL,
    rule    TEXT   NOT NULL,
    country TEXT   NOT NULL,
    n       BIGINT NOT NULL,
    last    BIGINT NOT NULL,
    PRIMARY KEY (app_id, day, rule, country)
);
CREATE INDEX send_refusals_day ON send_refusals (day);

-- Applications of before go on sending everywhere, as they did; new ones name their countries.
UPDATE applications SET settings = substr(settings, 1, length(settings) - 1) || ',"sending":{"countries":"*"}}' WHERE settings LIKE '{"%}';

-- +goose Down
SELECT 1;
