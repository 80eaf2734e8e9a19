-- Collection and holds: what proves that the store is the right one, and what keeps bytes from being served and removed.

-- One row: the id that the store must show before anything of it is collected; `placed_at` once it was written there.
CREATE TABLE sentinel (
    id        uuid NOT NULL DEFAULT gen_random_uuid(),
    only_row  boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    placed_at timestamptz
);
INSERT INTO sentinel DEFAULT VALUES;

-- Holds: an operator's word that these bytes are neither served nor removed. The foreign key is what stops a reviewer that
-- looked a moment before the hold came; it is NULL where there was no blob, and none comes to be while the hold stands.
CREATE TABLE holds (
    sha256    bytea PRIMARY KEY CHECK (octet_length(sha256) = 32),
    kind      text NOT NULL CHECK (kind IN ('quarantine', 'legal')),
    status    smallint NOT NULL CHECK (status IN (404, 451)),
    reason    text NOT NULL,
    actor     text NOT NULL,
    placed_at timestamptz NOT NULL,
    blob_id   bigint CONSTRAINT holds_blob_fkey REFERENCES blobs
);
CREATE UNIQUE INDEX holds_blob ON holds (blob_id) WHERE blob_id IS NOT NULL;

-- Under a hold reviews are dropped; when it is lifted, everything that it kept is looked at again.
CREATE FUNCTION review_after_hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_reviews (workspace_id, blob_id, due)
        SELECT workspace_id, blob_id, lease_until FROM holdings WHERE blob_id = OLD.blob_id;
    INSERT INTO blob_reviews (blob_id, due) SELECT OLD.blob_id, refkeep_now() WHERE OLD.blob_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER holds_deleted AFTER DELETE ON holds FOR EACH ROW EXECUTE FUNCTION review_after_hold();

-- Holds are global: their own record belongs to no workspace, each holder of the bytes gets a copy.
ALTER TABLE events ALTER COLUMN workspace_id DROP NOT NULL;

CREATE INDEX rejections_age ON rejections (recorded_at);
CREATE INDEX objects_sha256 ON objects (sha256);
CREATE INDEX holding_reviews_holding ON holding_reviews (blob_id, workspace_id);
CREATE INDEX blob_reviews_blob ON blob_reviews (blob_id);
