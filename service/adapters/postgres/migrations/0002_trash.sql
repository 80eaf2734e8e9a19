-- The end of the trash, and lists of refs to leaf through.

-- What is left of a purged ref for 90 days: enough to say that it is gone.
CREATE TABLE tombstones (
    ref_id       uuid PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    purged_at    timestamptz NOT NULL
);
CREATE INDEX tombstones_age ON tombstones (purged_at);

-- Pages go by the id, which begins with the time when a ref was made, those of the trash by when it got them.
CREATE INDEX refs_workspace ON refs (workspace_id, id);
CREATE INDEX refs_entity ON refs (workspace_id, entity_type, entity_id, id);
CREATE INDEX refs_trash ON refs (workspace_id, trashed_at, id) WHERE state = 'trashed';
DROP INDEX refs_holding;
CREATE INDEX refs_holding ON refs (workspace_id, blob_id, id);
CREATE INDEX blobs_media_type ON blobs (media_type);
