-- Repair: what is known of the health of bytes, when they were last read, and how far this database has come.

-- A listing of the store comes in the order of code points; the other half of a merge must come in the same.
ALTER TABLE objects ALTER COLUMN key TYPE text COLLATE "C";

-- Bytes are hashed on their way in: that is their first check. `scrub_until` is a claim, which ends by itself.
ALTER TABLE objects ADD COLUMN checked_at timestamptz, ADD COLUMN scrub_until timestamptz;
UPDATE objects SET checked_at = created_at;
ALTER TABLE objects ALTER COLUMN checked_at SET DEFAULT refkeep_now(), ALTER COLUMN checked_at SET NOT NULL;
CREATE INDEX objects_scrub ON objects (checked_at, id) WHERE state = 'live';

-- A marked blob is not served, and its bytes are asked for again: the next upload of them heals it.
ALTER TABLE blobs
    ADD COLUMN health text NOT NULL DEFAULT 'ok' CHECK (health IN ('ok', 'missing', 'corrupt')),
    ADD COLUMN health_since timestamptz,
    ADD CONSTRAINT blobs_marked_since CHECK ((health = 'ok') = (health_since IS NULL));
CREATE INDEX blobs_marked ON blobs (health) WHERE health <> 'ok';

-- Where a database lives: a dump that is restored gets another table, or the same one in another cluster.
CREATE FUNCTION refkeep_home() RETURNS text LANGUAGE sql STABLE
    AS $$ SELECT system_identifier || '/' || 'sentinel'::regclass::oid FROM pg_control_system() $$;

-- The fence: `generation` only grows, here first, then in the note beside the blobs. `home` is where this database lived
-- when its store was last known to be whole; until `rests_until` nothing more loses its last reason.
ALTER TABLE sentinel
    ADD COLUMN generation bigint NOT NULL DEFAULT 0,
    ADD COLUMN advanced_at timestamptz,
    ADD COLUMN home text NOT NULL DEFAULT refkeep_home(),
    ADD COLUMN rests_until timestamptz;

-- A restored log goes on in an epoch of its own, also where transaction ids are higher than those that were dumped.
ALTER TABLE epochs ADD COLUMN home text NOT NULL DEFAULT refkeep_home();
