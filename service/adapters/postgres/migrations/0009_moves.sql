-- Moves from one store to another while everything runs: see docs/migrate-store.md.

-- Where bytes may lie beside the store of whoever asks, until `finished_at`. From `closed_at` on nothing is published that
-- was put into the source; it then shows `seal` as its sentinel, which is no database's.
CREATE TABLE store_moves (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text NOT NULL,
    target      text NOT NULL CHECK (target <> source),
    seal        uuid NOT NULL DEFAULT gen_random_uuid(),
    doubt_from  text COLLATE "C", -- the copies that were under way last: a run that goes on reads them again
    doubt_to    text COLLATE "C",
    started_at  timestamptz NOT NULL DEFAULT refkeep_now(),
    closed_at   timestamptz,
    finished_at timestamptz,
    CONSTRAINT store_moves_closed_first CHECK (closed_at IS NOT NULL OR finished_at IS NULL),
    CONSTRAINT store_moves_doubt CHECK ((doubt_from IS NULL) = (doubt_to IS NULL))
);
CREATE UNIQUE INDEX store_moves_one ON store_moves ((true)) WHERE finished_at IS NULL;

-- Raised by every step of a move. Who publishes says in which epoch it last saw that its store is this database's.
ALTER TABLE sentinel ADD COLUMN store_epoch bigint NOT NULL DEFAULT 0;
