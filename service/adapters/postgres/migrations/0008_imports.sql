-- Imports: which there were, and which entities each has come to. What they did stands in the log, under `import:<id>`.

CREATE TABLE imports (
    id         text PRIMARY KEY,
    manifest   bytea NOT NULL CHECK (octet_length(manifest) = 32),
    name       text NOT NULL,
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'rolled-back')),
    counts     json NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL DEFAULT refkeep_now(),
    touched_at timestamptz NOT NULL DEFAULT refkeep_now()
);
-- One manifest is one run, until it is rolled back: given again, it goes on.
CREATE UNIQUE INDEX imports_manifest ON imports (manifest) WHERE state <> 'rolled-back';

-- Written before anything of an entity is: a run that was killed can still be rolled back whole.
CREATE TABLE import_entities (
    import_id    text NOT NULL REFERENCES imports,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    entity_type  text NOT NULL,
    entity_id    text NOT NULL,
    PRIMARY KEY (import_id, workspace_id, entity_type, entity_id)
);
