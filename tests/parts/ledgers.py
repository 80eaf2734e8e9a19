"""The ledgers behind the ports, a look behind them, and the short words for putting blobs and refs into them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from uuid import UUID

from uuid_utils.compat import uuid7

from service.adapters.memory.access import MemoryKeys, MemoryWorkspaces
from service.adapters.memory.blobs import MemoryBlobs
from service.adapters.memory.catalogue import MemoryCatalogue
from service.adapters.memory.database import MemoryDatabase
from service.adapters.memory.normalisations import MemoryNormalisations
from service.adapters.memory.objects import MemoryObjects
from service.adapters.memory.refs import MemoryRefs
from service.adapters.memory.trash import MemoryTrash
from service.adapters.postgres.access import PostgresKeys, PostgresWorkspaces
from service.adapters.postgres.blobs import PostgresBlobs
from service.adapters.postgres.catalogue import PostgresCatalogue
from service.adapters.postgres.database import PATIENCE, Database
from service.adapters.postgres.normalisations import PostgresNormalisations
from service.adapters.postgres.objects import PostgresObjects
from service.adapters.postgres.opening import open_database
from service.adapters.postgres.refs import PostgresRefs
from service.adapters.postgres.trash import PostgresTrash
from service.application.changes import Command, Rules
from service.application.lifetimes import Lifetimes
from service.application.purge_due import PurgeDue
from service.domain.arrangement import ReleaseAll, Reorder
from service.domain.blob import Blob, MediaInfo, Sha256
from service.domain.decision import Attach, Expectation, Release
from service.domain.event import Actor, BlobEvent, Event, HoldEvent, HoldingEvent, RefEvent
from service.domain.holding_decision import HoldingState, decide_arrival
from service.domain.lifecycle import Purge, ReleaseRef, Restore, Revise, Revision
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.ref import Labels, Ref
from service.domain.slot import EntityKey
from service.ports.access import KeyStore, WorkspaceOutcome, WorkspaceStore
from service.ports.blobs import BlobLedger, BlobOutcome, HoldingJudge, Published
from service.ports.catalogue import Catalogue
from service.ports.idempotency import Claim, Replay
from service.ports.normalisations import Normalisations
from service.ports.objects import ObjectLedger
from service.ports.refs import BatchOutcome, RefLedger, RefOutcome, RoleJudge
from service.ports.trash import Trash
from service.schemas.events import decode_event

ACTOR = Actor("tester", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
IMAGE = MediaInfo("image/png", 640, 480, 1, None, readable=True)
LEASE, TRASH, UPLOAD = timedelta(days=7), timedelta(days=30), timedelta(hours=24)
POLICIES = Policies(
    (
        Policy("book", "cover", Cardinality.SINGLE, Visibility.PUBLIC),
        Policy("book", "pages", Cardinality.LIST, Visibility.PRIVATE, max_items=8),
        Policy("book", "notes", Cardinality.LIST, Visibility.PRIVATE, public_allowed=False, max_items=50),
    )
)
RULES = Rules(POLICIES, Lifetimes(LEASE, TRASH, UPLOAD))
_numbers = count(1)


@dataclass(frozen=True)
class Ledger:
    """All ledgers over one state, and what lies behind them.

    `events` are a workspace's in their order, `object_states` those of all objects by key; `advance` moves the clock.
    """

    refs: RefLedger
    blobs: BlobLedger
    objects: ObjectLedger
    keys: KeyStore
    workspaces: WorkspaceStore
    trash: Trash
    catalogue: Catalogue
    normalisations: Normalisations
    events: Callable[[str], Awaitable[list[Event]]]
    object_states: Callable[[], Awaitable[dict[str, str]]]
    advance: Callable[[timedelta], Awaitable[None]]

    async def workspace(self, max_bytes: int | None = None, max_items: int | None = None) -> str:
        """A new workspace."""
        slug = f"tests-{next(_numbers)}"
        await self.workspaces.put(slug, max_bytes, max_items)
        return slug

    async def publish(
        self,
        workspace: str,
        sha256: Sha256,
        *,
        size: int = 10,
        media: MediaInfo = IMAGE,
        claim: Claim[BlobOutcome] | None = None,
    ) -> Published:
        """Bytes arrive, as far as a ledger is concerned."""
        reservation = await self.objects.reserve(sha256, size, UPLOAD)
        return await self.blobs.publish(workspace, reservation, media, holding_judge(workspace, sha256, size), claim)

    async def hold(self, workspace: str, content: str = "", size: int = 10) -> Sha256:
        """A blob that the workspace holds; without `content` one that nobody ever had."""
        sha256 = hash_of(content) if content else new_hash()
        await self.publish(workspace, sha256, size=size)
        return sha256

    async def attach(self, command: Attach, claim: Claim[RefOutcome] | None = None) -> RefOutcome:
        """What a fresh attach makes."""
        return fresh(await self.change(command, claim))

    async def change(self, command: Command, claim: Claim[RefOutcome] | None = None) -> RefOutcome | Replay:
        """Carry out a command as the use cases do."""
        change = RULES.change(command)
        return await self.refs.change(change.question, change.judge, claim)

    async def change_all(
        self, workspace: str, commands: Sequence[Command], claim: Claim[BatchOutcome] | None = None
    ) -> BatchOutcome | Replay:
        """Carry out commands as the use case of batches does."""
        return await self.refs.change_all(workspace, [RULES.change(command) for command in commands], claim)

    async def purge_due(self, limit: int = 100) -> int:
        """Carry out what workers do with the trash."""
        return await PurgeDue(self.trash)(limit)


def memory_ledger(database: MemoryDatabase) -> Ledger:
    """Everything in memory."""

    async def events(workspace: str) -> list[Event]:
        return [event for event in database.log if workspace_of(event) == workspace]

    async def object_states() -> dict[str, str]:
        return {reservation.key: state.value for reservation, state in database.objects.values()}

    async def advance(by: timedelta) -> None:
        database.ahead += by

    return Ledger(
        MemoryRefs(database),
        MemoryBlobs(database),
        MemoryObjects(database),
        MemoryKeys(database),
        MemoryWorkspaces(database),
        MemoryTrash(database),
        MemoryCatalogue(database),
        MemoryNormalisations(database),
        events,
        object_states,
        advance,
    )


def postgres_ledger(database: Database) -> Ledger:
    """Everything on Postgres."""
    ahead = timedelta()

    async def events(workspace: str) -> list[Event]:
        rows = await database.fetch(
            "SELECT e.type, e.time, e.data::text FROM events e JOIN workspaces w ON w.id = e.workspace_id "
            "WHERE w.slug = $1 ORDER BY epoch, txid, seq",
            workspace,
        )
        return [decode_event(row["type"], row["time"], row["data"].encode()) for row in rows]

    async def object_states() -> dict[str, str]:
        return {row["key"]: row["state"] for row in await database.fetch("SELECT key, state FROM objects")}

    async def advance(by: timedelta) -> None:
        nonlocal ahead
        ahead += by
        await set_clock_ahead(database, ahead)

    return Ledger(
        PostgresRefs(database),
        PostgresBlobs(database),
        PostgresObjects(database),
        PostgresKeys(database),
        PostgresWorkspaces(database),
        PostgresTrash(database),
        PostgresCatalogue(database),
        PostgresNormalisations(database),
        events,
        object_states,
        advance,
    )


async def set_clock_ahead(database: Database, by: timedelta) -> None:
    """Replace the database's one clock."""
    async with database.connection() as connection:
        await connection.execute(
            "CREATE OR REPLACE FUNCTION refkeep_now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS "
            f"$$ SELECT date_trunc('milliseconds', clock_timestamp()) + interval '{by.total_seconds()} seconds' $$"
        )


@asynccontextmanager
async def opened_for_a_crowd(dsn: str, crowd: int) -> AsyncIterator[Database]:
    """A connection for everyone, and patience for a slow machine."""
    async with opened_database(dsn, crowd, patience=60.0) as database:
        yield database


@asynccontextmanager
async def opened_ledger(dsn: str, pool_size: int = 4) -> AsyncIterator[Ledger]:
    """The ledgers of a migrated database; its clock goes right again afterwards."""
    async with opened_database(dsn, pool_size) as database:
        try:
            yield postgres_ledger(database)
        finally:
            await set_clock_ahead(database, timedelta())


@asynccontextmanager
async def opened_database(dsn: str, pool_size: int = 4, patience: float = PATIENCE) -> AsyncIterator[Database]:
    """A pool on this database."""
    database = await open_database({"dsn": dsn}, pool_size, patience)
    try:
        yield database
    finally:
        await database.aclose()


def hash_of(content: str) -> Sha256:
    """The hash of a text."""
    return Sha256(hashlib.sha256(content.encode()).hexdigest())


def new_hash() -> Sha256:
    """A hash that no test has used."""
    return hash_of(f"content {next(_numbers)}")


def book(workspace: str, number: int = 42) -> EntityKey:
    """An entity that the policies know."""
    return EntityKey(workspace, "book", str(number))


def attach(
    entity: EntityKey,
    role: str,
    sha256: Sha256,
    position: int | None = None,
    *,
    shift: bool | None = None,
    labels: Labels = Labels(),  # noqa: B008 - frozen
    visibility: Visibility | None = None,
    version: int | None = None,
    ref_id: UUID | None = None,
    actor: Actor = ACTOR,
    sent: Sha256 | None = None,
) -> Attach:
    """A command: PUT where there is a position, else POST, unless `shift` says otherwise."""
    shifts = position is None if shift is None else shift
    expected = Expectation(None if version is None else frozenset({version}))
    return Attach(entity, role, position, shifts, sha256, labels, visibility, ref_id or uuid7(), actor, expected, sent)


def release(entity: EntityKey, role: str, position: int, version: int | None = None) -> Release:
    """A command."""
    return Release(entity, role, position, ACTOR, Expectation(None if version is None else frozenset({version})))


def expecting(version: int | None) -> Expectation:
    """What a caller who saw this version says; None says nothing."""
    return Expectation(None if version is None else frozenset({version}))


def release_all(entity: EntityKey, role: str | None = None, version: int | None = None) -> ReleaseAll:
    """A command."""
    return ReleaseAll(entity, role, ACTOR, expecting(version))


def reorder(entity: EntityKey, role: str, ref_ids: Iterable[UUID], version: int | None = None) -> Reorder:
    """A command."""
    return Reorder(entity, role, tuple(ref_ids), ACTOR, expecting(version))


def restore(workspace: str, ref_id: UUID, *, replaces: bool = False, version: int | None = None) -> Restore:
    """A command."""
    return Restore(workspace, ref_id, ACTOR, replaces, expecting(version))


def purge(workspace: str, ref_id: UUID, version: int | None = None) -> Purge:
    """A command."""
    return Purge(workspace, ref_id, ACTOR, expecting(version))


def release_ref(workspace: str, ref_id: UUID, version: int | None = None) -> ReleaseRef:
    """A command."""
    return ReleaseRef(workspace, ref_id, ACTOR, expecting(version))


def revise(workspace: str, ref_id: UUID, revision: Revision, version: int | None = None) -> Revise:
    """A command."""
    return Revise(workspace, ref_id, revision, ACTOR, expecting(version))


def role_judge(command: Command) -> RoleJudge:
    """What the use cases hand to the ledger."""
    return RULES.change(command).judge


def holding_judge(workspace: str, sha256: Sha256, size: int = 10) -> HoldingJudge:
    """Bytes that arrived whole."""

    def judge(state: HoldingState) -> HoldingEvent:
        return decide_arrival(state, workspace, sha256, size, LEASE, ACTOR)

    return judge


def claim_on(key: str, request: str = "a request") -> Claim[RefOutcome]:
    """A claim whose answer tells the event and the ref, so that two answers of two events differ."""
    return Claim(key, hashlib.sha256(request.encode()).digest(), lambda outcome: f"{outcome!r}".encode())


def blob_claim_on(key: str, request: str = "a request") -> Claim[BlobOutcome]:
    """The same for uploads."""
    return Claim(key, hashlib.sha256(request.encode()).digest(), lambda outcome: f"{outcome!r}".encode())


def fresh(outcome: RefOutcome | Replay) -> RefOutcome:
    """The outcome, which is no replay."""
    assert not isinstance(outcome, Replay)
    return outcome


def fresh_workspace(outcome: WorkspaceOutcome | Replay) -> WorkspaceOutcome:
    """The outcome, which is no replay."""
    assert not isinstance(outcome, Replay)
    return outcome


def fresh_batch(outcome: BatchOutcome | Replay) -> BatchOutcome:
    """The outcomes, which are no replay."""
    assert not isinstance(outcome, Replay)
    return outcome


def ref_of(outcome: RefOutcome) -> Ref:
    """The ref that an outcome is about."""
    assert outcome.ref is not None
    return outcome.ref.ref


def batch_claim_on(key: str, request: str = "a request") -> Claim[BatchOutcome]:
    """The same for batches."""
    return Claim(key, hashlib.sha256(request.encode()).digest(), lambda outcome: f"{outcome!r}".encode())


def fresh_blob(outcome: BlobOutcome | Replay | None) -> BlobOutcome:
    """The outcome, which is no replay and not missing."""
    assert isinstance(outcome, BlobOutcome)
    return outcome


def blob_of(outcome: RefOutcome) -> Blob:
    """What the ref of an outcome resolves to."""
    assert outcome.ref is not None
    return outcome.ref.blob


def workspace_of(event: Event) -> str | None:
    """Whose event this is."""
    match event:
        case HoldingEvent():
            return event.holding.workspace
        case HoldEvent() | BlobEvent():
            return event.workspace
        case RefEvent():
            return event.entity.workspace
