CREATE TABLE IF NOT EXISTS libraries (
    id            text   PRIMARY KEY,
    name          text   NOT NULL,
    cover_ref_id  uuid,
    cover_version bigint NOT NULL DEFAULT 0, -- of the entity in Refkeep, when it had this cover
    own_cover_id  uuid -- the old way: a picture that we keep ourselves; shown where there is no ref
);

-- The old way.
CREATE TABLE IF NOT EXISTS own_covers (
    id         uuid  PRIMARY KEY,
    library_id text  NOT NULL REFERENCES libraries ON DELETE CASCADE,
    media_type text  NOT NULL,
    content    bytea NOT NULL
);
CREATE INDEX IF NOT EXISTS own_covers_library ON own_covers (library_id);
