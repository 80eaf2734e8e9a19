-- Checkpoints: what the events said that were dropped. Written in the transaction that deletes them, so that the state here
-- and the events that are left always make the tables.

-- The last event that was dropped, of all and of each workspace: a cursor before it would miss something.
CREATE TABLE checkpoint (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch    integer NOT NULL,
    txid     bigint NOT NULL,
    seq      integer NOT NULL,
    until    timestamptz NOT NULL, -- the time of the latest one
    dropped  bigint NOT NULL,
    taken_at timestamptz NOT NULL
);
CREATE TABLE checkpoint_ends (
    workspace_id bigint PRIMARY KEY REFERENCES workspaces,
    epoch        integer NOT NULL,
    txid         bigint NOT NULL,
    seq          integer NOT NULL
);

CREATE TABLE checkpoint_entities (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    entity_type  text NOT NULL,
    entity_id    text NOT NULL,
    state        json NOT NULL,
    PRIMARY KEY (workspace_id, entity_type, entity_id)
);
CREATE TABLE checkpoint_holdings (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    sha256       bytea NOT NULL,
    holding      json NOT NULL,
    PRIMARY KEY (workspace_id, sha256)
);
CREATE TABLE checkpoint_holds (
    sha256 bytea PRIMARY KEY,
    hold   json NOT NULL
);
CREATE TABLE checkpoint_tombstones (
    ref_id       uuid PRIMARY KEY,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    purged_at    timestamptz NOT NULL
);
CREATE INDEX checkpoint_tombstones_age ON checkpoint_tombstones (purged_at);
