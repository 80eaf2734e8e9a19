-- What every service that uses Refkeep keeps beside its own tables, in its own schema.

-- Where the feed is read on from: one row, written in the transaction that applies what was read.
CREATE TABLE IF NOT EXISTS feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cursor   text
);
INSERT INTO feed DEFAULT VALUES ON CONFLICT DO NOTHING;

-- The projection: what Refkeep keeps for our entities, as of a version of each. Written from the feed alone.
CREATE TABLE IF NOT EXISTS projection (
    entity_type text   NOT NULL,
    entity_id   text   NOT NULL,
    version     bigint NOT NULL,
    refs        jsonb  NOT NULL,
    round       uuid, -- the last snapshot that told it
    PRIMARY KEY (entity_type, entity_id)
);

-- What Refkeep must still be told to let go of. Written in the transaction that makes it necessary.
CREATE TABLE IF NOT EXISTS outbox (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_type text        NOT NULL,
    entity_id   text        NOT NULL,
    ref_id      uuid, -- NULL: every ref of the entity
    key         uuid        NOT NULL DEFAULT gen_random_uuid(),
    traceparent text,
    due         timestamptz NOT NULL DEFAULT now(),
    attempts    int         NOT NULL DEFAULT 0,
    parked      text -- why no further attempt is made: somebody has to look
);
CREATE INDEX IF NOT EXISTS outbox_due ON outbox (id) WHERE parked IS NULL;
CREATE INDEX IF NOT EXISTS outbox_entity ON outbox (entity_type, entity_id);

-- What we deleted. Refs that arrive for these afterwards are let go of; refs of what we never knew are left alone.
CREATE TABLE IF NOT EXISTS departed (
    entity_type text NOT NULL,
    entity_id   text NOT NULL,
    PRIMARY KEY (entity_type, entity_id)
);
