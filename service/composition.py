"""The composition: which adapters stand behind which use cases. Nothing else knows both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeAlias

from service.adapters.eager_refs import EagerRefs
from service.adapters.filesystem.cached import is_at_hand, may_be_cached
from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.illustrating import IllustratingProber
from service.adapters.moving import Elsewhere, MovingStorage, OtherStore
from service.adapters.observed import ObservedProber, ObservedStorage
from service.adapters.postgres.access import PostgresWorkspaces
from service.adapters.postgres.adoption import PostgresAdoption
from service.adapters.postgres.blobs import PostgresBlobs
from service.adapters.postgres.catalogue import PostgresCatalogue
from service.adapters.postgres.clock import PostgresClock
from service.adapters.postgres.collection import PostgresCollection
from service.adapters.postgres.database import Database
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.holds import PostgresHolds
from service.adapters.postgres.imports import PostgresImports
from service.adapters.postgres.integrity import PostgresIntegrity
from service.adapters.postgres.leftovers import PostgresLeftovers
from service.adapters.postgres.moves import PostgresMoves
from service.adapters.postgres.normalisations import PostgresNormalisations
from service.adapters.postgres.objects import PostgresObjects
from service.adapters.postgres.reasons import PostgresReasons
from service.adapters.postgres.refs import PostgresRefs
from service.adapters.postgres.renditions import PostgresRenditions
from service.adapters.postgres.scrubbing import PostgresScrubbing
from service.adapters.postgres.sentinel import PostgresSentinel
from service.adapters.postgres.snapshot import PostgresSnapshot
from service.adapters.postgres.space import PostgresSpace
from service.adapters.postgres.standing import NeverMoved
from service.adapters.postgres.trash import PostgresTrash
from service.adapters.shared_feed import SharedFeed
from service.adapters.vips.prober import VipsProber
from service.adapters.vips.renderer import CORES, ENGINE, VipsRenderer
from service.application.adopt_objects import AdoptObjects
from service.application.attach_blob import AttachBlob
from service.application.attach_bytes import AttachBytes
from service.application.await_events import AwaitEvents
from service.application.change_refs import ChangeRefs
from service.application.changes import Rules
from service.application.check_store import CheckStore
from service.application.collect import Collect
from service.application.confirm_holding import ConfirmHolding
from service.application.describe_blob import DescribeBlob
from service.application.drop_stale import DropStale, current_definitions
from service.application.explain_blob import ExplainBlob
from service.application.find_missing import FindMissing
from service.application.follow_events import FollowEvents
from service.application.get_hold import GetHold
from service.application.get_media import GetMedia
from service.application.get_workspace import GetWorkspace
from service.application.give_up_holding import GiveUpHolding
from service.application.grant_holding import GrantHolding
from service.application.guard_store import GuardStore
from service.application.import_entity import ImportEntity
from service.application.import_manifest import ImportManifest
from service.application.lifetimes import Lifetimes
from service.application.lift_hold import LiftHold
from service.application.list_events import ListEvents
from service.application.list_media import ListMedia
from service.application.list_refs import ListRefs
from service.application.make_ahead import MakeAhead
from service.application.make_rendition import MakeRendition
from service.application.move_store import MoveStore, Side
from service.application.normalise import Normalise
from service.application.place_hold import PlaceHold
from service.application.purge_due import PurgeDue
from service.application.purge_media import PurgeMedia
from service.application.put_workspace import PutWorkspace
from service.application.release_media import ReleaseMedia
from service.application.release_refs import ReleaseRefs
from service.application.release_slot import ReleaseSlot
from service.application.reorder_role import ReorderRole
from service.application.restore_media import RestoreMedia
from service.application.revise_media import ReviseMedia
from service.application.roll_back_import import RollBackImport
from service.application.scrub import Scrub
from service.application.sign_media import SignMedia
from service.application.sign_media_list import SignMediaList
from service.application.signing import Signer
from service.application.standing import StoreStanding
from service.application.take_snapshot import TakeSnapshot
from service.application.upload_blob import UploadBlob
from service.application.walk_store import WalkStore
from service.domain.location import BucketLocation, FolderLocation, Location, parse_location
from service.domain.policy import Policies
from service.domain.signature import Signatures
from service.ports.feed import Tail
from service.ports.imports import ImportLedger
from service.ports.moves import Standing
from service.ports.prober import Prober
from service.ports.refs import RefLedger
from service.ports.renderer import Renderer
from service.ports.sources import Sources
from service.ports.storage import Storage
from service.router.callers import Callers
from service.router.use_cases import UseCases
from service.schemas.media import Presenter
from service.schemas.policy_file import load_policies
from service.settings import Settings

if TYPE_CHECKING:
    from service.adapters.s3.storage import S3Storage
    from service.telemetry.crew import Crew
    from service.telemetry.sdk import Telemetry


Store: TypeAlias = "FilesystemStorage | S3Storage"


@dataclass(frozen=True, slots=True)
class Parts:
    """What lives as long as a worker, open. `standing` is that of its own store."""

    database: Database
    store: Store
    storage: Storage
    prober: Prober
    renderer: Renderer
    telemetry: Telemetry
    crew: Crew
    tail: Tail
    standing: Standing = field(default_factory=NeverMoved)


def create_storage(settings: Settings) -> Store:
    """The configured store, not yet open."""
    return store_at(settings, location_of(settings))


def location_of(settings: Settings) -> Location:
    """Where the configured store is."""
    if settings.storage == "s3" and settings.s3_bucket is not None:
        return BucketLocation(settings.s3_bucket, settings.s3_endpoint_url, settings.s3_region)
    return FolderLocation(PurePosixPath(settings.data_dir.resolve() / "blobs"))


def store_at(settings: Settings, location: Location) -> Store:
    """The store at a location, not yet open."""
    if isinstance(location, BucketLocation):
        return _s3_storage(settings, location)
    return FilesystemStorage(Path(location.path), read_only=settings.read_only)


@dataclass(frozen=True, slots=True)
class Everywhere:
    """The configured store and, while it is being moved, the other one; `standing` says whether it is still one."""

    storage: MovingStorage
    standing: StoreStanding


@asynccontextmanager
async def open_everywhere(settings: Settings, database: Database, store: Store) -> AsyncIterator[Everywhere]:
    """Look beyond the configured store, which is open; what was opened for that is closed with the block."""
    standing = StoreStanding(PostgresMoves(database), store)

    async def open_other(location: str) -> OtherStore:
        other = store_at(settings, parse_location(location))
        if not isinstance(other, FilesystemStorage):  # which would make the folders of a disk that is not mounted
            await other.aopen()
        return other

    elsewhere = Elsewhere(standing, str(location_of(settings)), open_other)
    try:
        yield Everywhere(MovingStorage(store, elsewhere), standing)
    finally:
        await elsewhere.aclose()


def file_check(settings: Settings) -> Callable[[Path], bool]:
    """What sees, without waiting, that a file of the open store is there; it sees none where that could wait."""
    is_local = settings.storage == "filesystem" and may_be_cached(settings.data_dir / "blobs")
    return is_at_hand if is_local else lambda _: False


def _s3_storage(settings: Settings, at: BucketLocation) -> S3Storage:
    # Half of a start's time is this import, and a folder needs none of it.
    from service.adapters.s3.client import S3Config, wants_checksums  # noqa: PLC0415
    from service.adapters.s3.storage import S3Storage  # noqa: PLC0415

    region = at.region or "us-east-1"
    config = S3Config(at.bucket, at.endpoint, region, profile=at.profile, checksums=wants_checksums())
    return S3Storage(config, settings.data_dir / "spool")


def create_collect(
    settings: Settings, policies: Policies, database: Database, store: Store, storage: Storage | None = None
) -> Collect:
    """The collector, on a store that is open; it removes bytes from `storage`, if not from there alone."""
    return Collect(
        GuardStore(PostgresSentinel(database), store),
        PostgresCollection(database),
        storage or ObservedStorage(store),
        PostgresLeftovers(database),
        store,
        PurgeDue(PostgresTrash(database)),
        create_drop_stale(settings, policies, database),
        settings.quarantine,
    )


def create_drop_stale(settings: Settings, policies: Policies, database: Database) -> DropStale:
    """What forgets renditions that these policies do not make any more."""
    return DropStale(PostgresRenditions(database), current_definitions(policies, ENGINE), settings.quarantine)


def looking_prober(prober: Prober, renderer: Renderer) -> Prober:
    """What uploads look at bytes with: on record, and placeholders with it."""
    return ObservedProber(IllustratingProber(prober, renderer))


@dataclass(frozen=True, slots=True)
class Repair:
    """What `refkeep fsck` and `refkeep scrub` do; `min_age` is how old bytes without a row become."""

    check: CheckStore
    adopt: AdoptObjects
    scrub: Scrub
    min_age: timedelta


@asynccontextmanager
async def create_repair(settings: Settings, database: Database, store: Store) -> AsyncIterator[Repair]:
    """Repair, on a store that is open; what looks at media starts when it is needed, and ends with the block."""
    integrity, clock = PostgresIntegrity(database), PostgresClock(database)
    prober, renderer = VipsProber(), VipsRenderer()
    guard, workspaces = GuardStore(PostgresSentinel(database), store), PostgresWorkspaces(database)
    lifetimes = Lifetimes(settings.orphan_retention, settings.trash_retention, settings.upload_lease)
    async with open_everywhere(settings, database, store) as everywhere:
        storage = ObservedStorage(everywhere.storage)
        walk = WalkStore(integrity, storage, settings.quarantine)
        looking = looking_prober(prober, renderer)
        try:
            yield Repair(
                CheckStore(guard, walk, PostgresSpace(database), clock, store, lifetimes),
                AdoptObjects(guard, walk, PostgresAdoption(database), workspaces, looking, lifetimes),
                Scrub(guard, PostgresScrubbing(database), integrity, storage, clock),
                settings.orphan_retention,
            )
        finally:
            await prober.aclose()
            await renderer.aclose()


@asynccontextmanager
async def create_move(
    settings: Settings, database: Database, sides: tuple[Location, Location], jobs: int
) -> AsyncIterator[MoveStore]:
    """A move from one location to another, both stores open for as long as the block runs."""
    async with AsyncExitStack() as stack:

        async def side(location: Location) -> Side:
            store = store_at(settings, location)
            await store.aopen()
            stack.push_async_callback(store.aclose)
            return Side(ObservedStorage(store), store, str(location))

        source, target = [await side(each) for each in sides]
        integrity, sentinel = PostgresIntegrity(database), PostgresSentinel(database)
        yield MoveStore(PostgresMoves(database), sentinel, integrity, source, target, jobs)


@dataclass(frozen=True, slots=True)
class Imports:
    """What `refkeep import` does."""

    ledger: ImportLedger
    run: ImportManifest
    roll_back: RollBackImport


@asynccontextmanager
async def create_imports(
    settings: Settings, parts: tuple[Database, Store], sources: Sources, jobs: int
) -> AsyncIterator[Imports]:
    """Imports, `jobs` entities and sources at a time, on a store that is open; looking at media ends with the block."""
    (database, store), prober, renderer = parts, VipsProber(), VipsRenderer()
    refs, ledger = PostgresRefs(database), PostgresImports(database)
    lifetimes = Lifetimes(settings.orphan_retention, settings.trash_retention, settings.upload_lease)
    rules = Rules(load_policies(settings.policies), lifetimes)
    objects, at_once = PostgresObjects(database), asyncio.Semaphore(jobs)
    descriptors, memory = PostgresDescriptors(database), PostgresNormalisations(database)
    async with open_everywhere(settings, database, store) as everywhere:
        storage, blobs = ObservedStorage(everywhere.storage), PostgresBlobs(database, everywhere.standing)
        upload = UploadBlob(storage, looking_prober(prober, renderer), objects, blobs, lifetimes)
        change = ChangeRefs(refs, rules, Normalise(rules, refs, upload, descriptors, renderer, memory, CORES))
        entity = ImportEntity(sources, upload, change, refs, ledger, rules, settings.max_upload_bytes, at_once)
        try:
            yield Imports(ledger, ImportManifest(ledger, entity, jobs), RollBackImport(ledger, change, jobs))
        finally:
            await prober.aclose()
            await renderer.aclose()


def _refs(database: Database, ahead: MakeAhead | None) -> RefLedger:
    refs = PostgresRefs(database)
    return refs if ahead is None else EagerRefs(refs, ahead.begin)


def create_make_rendition(settings: Settings, parts: Parts) -> MakeRendition:
    """What makes renditions; to be closed before its parts are."""
    lifetimes = Lifetimes(settings.orphan_retention, settings.trash_retention, settings.upload_lease)
    renditions, objects = PostgresRenditions(parts.database, parts.standing), PostgresObjects(parts.database)
    return MakeRendition(renditions, parts.renderer, parts.storage, objects, lifetimes, settings.read_only)


def create_use_cases(
    settings: Settings, policies: Policies, callers: Callers, parts: Parts, ahead: MakeAhead | None = None
) -> UseCases:
    """Everything that handlers call; without `ahead` renditions are made when they are asked for."""
    blobs, refs = PostgresBlobs(parts.database, parts.standing), _refs(parts.database, ahead)
    holds, workspaces = PostgresHolds(parts.database), PostgresWorkspaces(parts.database)
    feed = PostgresFeed(parts.database)
    shared_feed = SharedFeed(feed, at_once=max(settings.pool_size // 2, 1))
    lifetimes = Lifetimes(settings.orphan_retention, settings.trash_retention, settings.upload_lease)
    signer, catalogue = Signer(Signatures(settings.signing_keys)), PostgresCatalogue(parts.database)
    upload = UploadBlob(parts.storage, parts.prober, PostgresObjects(parts.database), blobs, lifetimes)
    rules = Rules(policies, lifetimes)
    descriptors, memory = PostgresDescriptors(parts.database), PostgresNormalisations(parts.database)
    normalise = Normalise(rules, refs, upload, descriptors, parts.renderer, memory, CORES)
    attach = AttachBlob(refs, rules, normalise)
    return UseCases(
        callers=callers,
        present=Presenter((settings.public_url or "").rstrip("/")),
        policies=policies,
        max_upload_bytes=settings.max_upload_bytes,
        upload_blob=upload,
        confirm_holding=ConfirmHolding(blobs, lifetimes),
        find_missing=FindMissing(blobs, lifetimes),
        describe_blob=DescribeBlob(blobs, refs),
        give_up_holding=GiveUpHolding(blobs),
        grant_holding=GrantHolding(blobs, lifetimes),
        attach_blob=attach,
        attach_bytes=AttachBytes(upload, attach),
        release_slot=ReleaseSlot(refs, rules),
        list_refs=ListRefs(refs),
        reorder_role=ReorderRole(refs, rules),
        release_refs=ReleaseRefs(refs, rules),
        change_refs=ChangeRefs(refs, rules, normalise),
        get_media=GetMedia(refs),
        list_media=ListMedia(catalogue),
        release_media=ReleaseMedia(refs, rules),
        revise_media=ReviseMedia(refs, rules),
        restore_media=RestoreMedia(refs, rules),
        purge_media=PurgeMedia(refs, rules),
        sign_media=SignMedia(refs, signer),
        sign_media_list=SignMediaList(catalogue, signer),
        list_events=ListEvents(feed),
        await_events=AwaitEvents(shared_feed, parts.tail),
        follow_events=FollowEvents(shared_feed, parts.tail),
        take_snapshot=TakeSnapshot(feed, PostgresSnapshot(parts.database)),
        explain_blob=ExplainBlob(
            PostgresReasons(parts.database), create_drop_stale(settings, policies, parts.database).ends
        ),
        place_hold=PlaceHold(holds),
        lift_hold=LiftHold(holds),
        get_hold=GetHold(holds),
        get_workspace=GetWorkspace(workspaces, PostgresSpace(parts.database)),
        put_workspace=PutWorkspace(workspaces),
    )
