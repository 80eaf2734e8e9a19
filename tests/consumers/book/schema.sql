CREATE TABLE IF NOT EXISTS books (
    id            text   PRIMARY KEY,
    title         text   NOT NULL,
    cover_ref_id  uuid,
    cover_version bigint NOT NULL DEFAULT 0 -- of the entity in Refkeep, when it had this cover
);

CREATE TABLE IF NOT EXISTS chapters (
    book_id       text   NOT NULL REFERENCES books ON DELETE CASCADE,
    id            text   NOT NULL,
    illustrations uuid[] NOT NULL DEFAULT '{}', -- in order
    version       bigint NOT NULL DEFAULT 0,    -- of the entity in Refkeep, when it had them in this order
    PRIMARY KEY (book_id, id)
);
