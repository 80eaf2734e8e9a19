-- Pictures: what stands in for them while they load, what is made of them, and what refs remember of how they came.

-- A placeholder is known whole or not at all: of bytes that show nothing, or that nobody could look at, there is none.
ALTER TABLE blobs
    ADD COLUMN thumbhash text,
    ADD COLUMN colour text,
    ADD COLUMN aspect double precision,
    ADD CONSTRAINT blobs_placeholder_whole CHECK (
        (thumbhash IS NULL) = (colour IS NULL) AND (thumbhash IS NULL) = (aspect IS NULL));

-- Renditions: what presets make of a blob. Their bytes are a blob of their own, which this row keeps instead of a holding;
-- `blob_id` is NULL where they would be the parent's own bytes. Rows are written only while somebody holds the parent, and
-- go when nobody does, so that two blobs never keep each other.
CREATE TABLE renditions (
    parent_id  bigint NOT NULL CONSTRAINT renditions_parent_fkey REFERENCES blobs,
    definition text NOT NULL CHECK (definition ~ '^[0-9a-f]{16}$'),
    format     text NOT NULL,
    blob_id    bigint CONSTRAINT renditions_blob_fkey REFERENCES blobs,
    created_at timestamptz NOT NULL,
    CONSTRAINT renditions_pkey PRIMARY KEY (parent_id, definition, format),
    CONSTRAINT renditions_no_own_parent CHECK (blob_id <> parent_id)
);
CREATE INDEX renditions_blob ON renditions (blob_id) WHERE blob_id IS NOT NULL;
CREATE INDEX renditions_definition ON renditions (definition, created_at);

CREATE FUNCTION review_blob_of_rendition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO blob_reviews (blob_id, due) SELECT OLD.blob_id, refkeep_now() WHERE OLD.blob_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER renditions_deleted AFTER DELETE ON renditions
    FOR EACH ROW EXECUTE FUNCTION review_blob_of_rendition();
CREATE TRIGGER renditions_moved AFTER UPDATE OF blob_id ON renditions FOR EACH ROW
    WHEN (OLD.blob_id IS DISTINCT FROM NEW.blob_id) EXECUTE FUNCTION review_blob_of_rendition();

-- Who makes a rendition right now, so that the others wait for it: lost in a crash, which only makes it twice.
CREATE UNLOGGED TABLE rendition_claims (
    parent     bytea NOT NULL,
    definition text NOT NULL,
    format     text NOT NULL,
    until      timestamptz NOT NULL,
    PRIMARY KEY (parent, definition, format)
);
CREATE INDEX rendition_claims_until ON rendition_claims (until);

-- What became of a held picture when it was made to comply with a policy, as its own workspace knows it: other bytes, which
-- it holds too, or none where it complied as it was. A memory, nothing more: it keeps neither of them.
CREATE TABLE normalisations (
    workspace_id bigint NOT NULL,
    blob_id      bigint NOT NULL,
    definition   text NOT NULL CHECK (definition ~ '^[0-9a-f]{16}$'),
    result_id    bigint,
    PRIMARY KEY (workspace_id, blob_id, definition),
    CONSTRAINT normalisations_holding_fkey FOREIGN KEY (workspace_id, blob_id) REFERENCES holdings ON DELETE CASCADE,
    CONSTRAINT normalisations_result_fkey FOREIGN KEY (workspace_id, result_id) REFERENCES holdings ON DELETE CASCADE
);
CREATE INDEX normalisations_result ON normalisations (workspace_id, result_id) WHERE result_id IS NOT NULL;

-- What was sent, where a ref shows what was made of it. With a policy that keeps the original it keeps its holding, too.
ALTER TABLE refs
    ADD COLUMN original_sha256 bytea CHECK (octet_length(original_sha256) = 32),
    ADD COLUMN original_blob_id bigint,
    ADD CONSTRAINT refs_original_known CHECK (original_blob_id IS NULL OR original_sha256 IS NOT NULL),
    ADD CONSTRAINT refs_original_fkey FOREIGN KEY (workspace_id, original_blob_id) REFERENCES holdings;
CREATE INDEX refs_original ON refs (workspace_id, original_blob_id, id) WHERE original_blob_id IS NOT NULL;

CREATE FUNCTION review_original_of_ref() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_reviews (workspace_id, blob_id, due) VALUES (OLD.workspace_id, OLD.original_blob_id, refkeep_now());
    RETURN NULL;
END $$;
CREATE TRIGGER refs_original_deleted AFTER DELETE ON refs FOR EACH ROW
    WHEN (OLD.original_blob_id IS NOT NULL) EXECUTE FUNCTION review_original_of_ref();
CREATE TRIGGER refs_original_moved AFTER UPDATE OF original_blob_id ON refs FOR EACH ROW
    WHEN (OLD.original_blob_id IS NOT NULL AND OLD.original_blob_id IS DISTINCT FROM NEW.original_blob_id)
    EXECUTE FUNCTION review_original_of_ref();
