-- Lists of refs: whatever they are narrowed to, a page reads one index in the order of its list, and not the rows before it.

-- By the id, the newest first. Each has the state, so that few live refs are not looked for among much trash.
DROP INDEX refs_workspace;
CREATE INDEX refs_workspace ON refs (workspace_id, state, id);
DROP INDEX refs_entity;
CREATE INDEX refs_entity ON refs (workspace_id, state, entity_type, entity_id, id);
CREATE INDEX refs_kind ON refs (workspace_id, state, entity_type, role, id);

-- By when the trash got them. Only a release writes these.
CREATE INDEX refs_trash_kind ON refs (workspace_id, entity_type, role, trashed_at, id) WHERE state = 'trashed';
CREATE INDEX refs_trash_entity ON refs (workspace_id, entity_type, entity_id, trashed_at, id) WHERE state = 'trashed';
CREATE INDEX refs_trash_blob ON refs (workspace_id, blob_id, trashed_at, id) WHERE state = 'trashed';

-- A list of a media type looks at a stretch of the workspace's refs: the type's blobs are everyone's.
DROP INDEX blobs_media_type;
