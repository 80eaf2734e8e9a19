-- What keeps costs as they are while everything grows; the tests explain every frequent statement.

-- Bytes that everyone holds: a holding is found by both columns, not among all holders.
DROP INDEX holdings_blob;
CREATE INDEX holdings_blob ON holdings (blob_id, workspace_id);

-- An entity belongs to one workspace and has few refs, but Postgres multiplies the odds of each column and expects one row
-- whatever the index; then it may look for the live ref of a slot among all that the trash ever got from the entity.
CREATE STATISTICS refs_of_entity (ndistinct, dependencies) ON workspace_id, entity_type, entity_id FROM refs;
