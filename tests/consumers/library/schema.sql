CREATE TABLE IF NOT EXISTS libraries (
    id            text   PRIMARY KEY,
    name          text   NOT NULL,
    cover_ref_id  uuid,
    cover_version bigint NOT NULL DEFAULT 0 -- of the entity in Refkeep, when it had this cover
);
