-- The ledger: who holds which bytes, what refers to them, and every decision that made it so.
-- The foreign keys and triggers here are the guard of the safety protocol; application code only asks politely first.

-- The one clock. Milliseconds, so that a time survives the event log unchanged. Tests replace this function to move time.
CREATE FUNCTION refkeep_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT date_trunc('milliseconds', clock_timestamp()) $$;

CREATE TABLE workspaces (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug        text NOT NULL CONSTRAINT workspaces_slug_key UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    max_bytes   bigint CHECK (max_bytes >= 0),
    max_items   bigint CHECK (max_items >= 0),
    used_bytes  bigint NOT NULL DEFAULT 0 CHECK (used_bytes >= 0),
    used_items  bigint NOT NULL DEFAULT 0 CHECK (used_items >= 0),
    created_at  timestamptz NOT NULL DEFAULT refkeep_now()
) WITH (fillfactor = 50);

CREATE TABLE api_keys (
    id           text PRIMARY KEY,
    secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    name         text NOT NULL,
    scopes       text[] NOT NULL CHECK (scopes <@ ARRAY['read', 'write', 'admin', 'operator'] AND cardinality(scopes) > 0),
    workspace_id bigint REFERENCES workspaces,
    created_at   timestamptz NOT NULL DEFAULT refkeep_now(),
    revoked_at   timestamptz,
    CONSTRAINT api_keys_operator_is_unbound CHECK (workspace_id IS NULL OR NOT 'operator' = ANY (scopes))
);

-- Objects: one physical copy each, under a key that is never used twice. pending -> live -> condemned -> row gone.
CREATE TABLE objects (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL CONSTRAINT objects_key_key UNIQUE,
    sha256       bytea NOT NULL CHECK (octet_length(sha256) = 32),
    size         bigint NOT NULL CHECK (size >= 0),
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'live', 'condemned')),
    is_live      boolean NOT NULL GENERATED ALWAYS AS (state = 'live') STORED,
    lease_until  timestamptz NOT NULL,
    delete_after timestamptz,
    created_at   timestamptz NOT NULL DEFAULT refkeep_now(),
    CONSTRAINT objects_condemned_has_end CHECK ((state = 'condemned') = (delete_after IS NOT NULL)),
    CONSTRAINT objects_id_is_live_key UNIQUE (id, is_live)
);
CREATE INDEX objects_pending_lease ON objects (lease_until) WHERE state = 'pending';
CREATE INDEX objects_condemned_due ON objects (delete_after) WHERE state = 'condemned';

CREATE FUNCTION objects_only_move_forward() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    path CONSTANT text[] := ARRAY['pending', 'live', 'condemned'];
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'condemned' THEN
            RAISE EXCEPTION 'object % is %, only a condemned one may go', OLD.id, OLD.state USING ERRCODE = 'check_violation';
        END IF;
        RETURN OLD;
    END IF;
    IF NEW.key <> OLD.key OR NEW.sha256 <> OLD.sha256 OR NEW.size <> OLD.size
        OR array_position(path, NEW.state) < array_position(path, OLD.state) THEN
        RAISE EXCEPTION 'object %: % cannot become %', OLD.id, OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER objects_only_move_forward BEFORE UPDATE OR DELETE ON objects
    FOR EACH ROW EXECUTE FUNCTION objects_only_move_forward();

-- Blobs: a row exists only while the bytes can be served. The foreign key on (object_id, true) refuses to condemn an object in use.
CREATE TABLE blobs (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256         bytea NOT NULL CONSTRAINT blobs_sha256_key UNIQUE CHECK (octet_length(sha256) = 32),
    size           bigint NOT NULL CHECK (size >= 0),
    media_type     text NOT NULL,
    width          integer,
    height         integer,
    frames         integer,
    duration_ms    bigint,
    readable       boolean,
    object_id      bigint NOT NULL CONSTRAINT blobs_object_key UNIQUE,
    object_is_live boolean NOT NULL DEFAULT true CHECK (object_is_live),
    created_at     timestamptz NOT NULL,
    CONSTRAINT blobs_object_fkey FOREIGN KEY (object_id, object_is_live) REFERENCES objects (id, is_live)
);

-- Holdings: this workspace has sent these bytes. What keeps a blob alive before any ref does, and the unit of quota.
CREATE TABLE holdings (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    blob_id      bigint NOT NULL CONSTRAINT holdings_blob_fkey REFERENCES blobs,
    acquired_at  timestamptz NOT NULL,
    lease_until  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, blob_id)
);
CREATE INDEX holdings_blob ON holdings (blob_id);

CREATE TABLE entities (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    entity_type  text NOT NULL,
    entity_id    text NOT NULL,
    version      bigint NOT NULL CHECK (version > 0),
    PRIMARY KEY (workspace_id, entity_type, entity_id)
);

-- Refs: live ones fill positions 0…n-1 of their role; trashed ones keep their holding until they are purged.
CREATE TABLE refs (
    id              uuid PRIMARY KEY,
    workspace_id    bigint NOT NULL,
    entity_type     text NOT NULL,
    entity_id       text NOT NULL,
    role            text NOT NULL,
    position        integer CHECK (position >= 0),
    former_position integer,
    state           text NOT NULL CHECK (state IN ('live', 'trashed')),
    visibility      text NOT NULL CHECK (visibility IN ('public', 'private')),
    blob_id         bigint NOT NULL,
    filename        text,
    alt             text,
    owner           text,
    created_at      timestamptz NOT NULL,
    trashed_at      timestamptz,
    purge_after     timestamptz,
    CONSTRAINT refs_slot_key UNIQUE (workspace_id, entity_type, entity_id, role, position) DEFERRABLE INITIALLY IMMEDIATE,
    CONSTRAINT refs_entity_fkey FOREIGN KEY (workspace_id, entity_type, entity_id) REFERENCES entities,
    CONSTRAINT refs_holding_fkey FOREIGN KEY (workspace_id, blob_id) REFERENCES holdings,
    CONSTRAINT refs_live_has_position CHECK ((state = 'live') = (position IS NOT NULL)),
    CONSTRAINT refs_trashed_has_end CHECK ((state = 'trashed') = (trashed_at IS NOT NULL AND purge_after IS NOT NULL))
);
CREATE INDEX refs_public_blob ON refs (blob_id) WHERE visibility = 'public' AND state = 'live';
CREATE INDEX refs_holding ON refs (workspace_id, blob_id);
CREATE INDEX refs_trash_due ON refs (purge_after) WHERE state = 'trashed';

-- Events: the feed's order is (epoch, txid, seq). A new epoch opens when a restored cluster's transaction ids start anew.
CREATE TABLE epochs (
    epoch     integer PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT refkeep_now()
);
INSERT INTO epochs (epoch) VALUES (1);

CREATE TABLE events (
    epoch        integer NOT NULL,
    txid         bigint NOT NULL,
    seq          integer NOT NULL,
    time         timestamptz NOT NULL,
    type         text NOT NULL,
    decision     text NOT NULL,
    workspace_id bigint NOT NULL REFERENCES workspaces,
    entity_type  text,
    entity_id    text,
    ref_id       uuid,
    sha256       bytea,
    data         json NOT NULL,
    PRIMARY KEY (epoch, txid, seq)
);
CREATE INDEX events_workspace ON events (workspace_id, epoch, txid, seq);
CREATE INDEX events_entity ON events (workspace_id, entity_type, entity_id, epoch, txid, seq);

-- The last time a refusal was recorded: equal ones of one key, entity and code within a minute are one event.
CREATE TABLE rejections (
    actor        text NOT NULL,
    workspace_id bigint NOT NULL,
    entity_type  text NOT NULL,
    entity_id    text NOT NULL,
    code         text NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (actor, workspace_id, entity_type, entity_id, code)
);

-- Idempotency: claim, effect and answer are one transaction.
CREATE TABLE idempotency (
    workspace_id bigint NOT NULL,
    key          text NOT NULL,
    fingerprint  bytea NOT NULL,
    answer       bytea NOT NULL,
    created_at   timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_age ON idempotency (created_at);

-- Review queues: whatever may have lost its last reason is looked at again. Fed by these triggers and by nothing else.
CREATE TABLE holding_reviews (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace_id bigint NOT NULL,
    blob_id      bigint NOT NULL,
    due          timestamptz NOT NULL
);
CREATE INDEX holding_reviews_due ON holding_reviews (due);

CREATE TABLE blob_reviews (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    blob_id bigint NOT NULL,
    due     timestamptz NOT NULL
);
CREATE INDEX blob_reviews_due ON blob_reviews (due);

CREATE FUNCTION review_holding_of_ref() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_reviews (workspace_id, blob_id, due) VALUES (OLD.workspace_id, OLD.blob_id, refkeep_now());
    RETURN NULL;
END $$;
CREATE TRIGGER refs_deleted AFTER DELETE ON refs FOR EACH ROW EXECUTE FUNCTION review_holding_of_ref();
CREATE TRIGGER refs_moved AFTER UPDATE OF blob_id ON refs FOR EACH ROW
    WHEN (OLD.blob_id IS DISTINCT FROM NEW.blob_id) EXECUTE FUNCTION review_holding_of_ref();

CREATE FUNCTION review_new_holding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO holding_reviews (workspace_id, blob_id, due) VALUES (NEW.workspace_id, NEW.blob_id, NEW.lease_until);
    RETURN NULL;
END $$;
CREATE TRIGGER holdings_inserted AFTER INSERT ON holdings FOR EACH ROW EXECUTE FUNCTION review_new_holding();

CREATE FUNCTION review_blob_of_holding() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO blob_reviews (blob_id, due) VALUES (OLD.blob_id, refkeep_now());
    RETURN NULL;
END $$;
CREATE TRIGGER holdings_deleted AFTER DELETE ON holdings FOR EACH ROW EXECUTE FUNCTION review_blob_of_holding();
