"""What is measured and explained: the product's own statements, on anything at random of the large workspace."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from uuid_utils.compat import uuid7

from service.adapters.postgres.blobs import PostgresBlobs
from service.adapters.postgres.catalogue import PostgresCatalogue
from service.adapters.postgres.collection import PostgresCollection
from service.adapters.postgres.database import Database
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.objects import PostgresObjects
from service.adapters.postgres.reasons import PostgresReasons
from service.adapters.postgres.refs import PostgresRefs
from service.adapters.postgres.snapshot import PostgresSnapshot
from service.adapters.postgres.trash import PostgresTrash
from service.application.changes import Command, Rules
from service.application.lifetimes import Lifetimes
from service.application.purge_due import PurgeDue
from service.domain.blob import MediaInfo, Sha256
from service.domain.collection import judge_blob, judge_holding
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.ref import RefState
from service.domain.slot import EntityKey
from service.ports.catalogue import MediaFilter
from service.ports.feed import EventFilter
from tests.growth.world import BLOBS_OF_ENTITY, LARGE, ROLE, SIZE, World, blob_name, ref_id
from tests.parts.ledgers import attach, hash_of, holding_judge, release_ref, restore

PAGE = 100
_POLICIES = Policies((Policy("document", ROLE, Cardinality.LIST, Visibility.PRIVATE),))
_RULES = Rules(_POLICIES, Lifetimes())
_DUE = """INSERT INTO holding_reviews (workspace_id, blob_id, due)
    SELECT id, $2, refkeep_now() FROM workspaces WHERE slug = $1"""
_QUARANTINE = timedelta(hours=24)


@dataclass
class Operations:
    """One database with its world. Each operation is one call of a port, as a use case makes it."""

    database: Database
    world: World
    rng: random.Random
    middle: str = ""
    latest: str = ""
    middle_of_media: str | None = None
    pid: int = 0

    async def prepare(self) -> None:
        """Learn where the middles are, and have every table's sizes known."""
        entity = self.world.entities // 4 * 2
        events = await PostgresFeed(self.database).page(LARGE, None, 1, self._of(entity))
        self.middle = events.next_cursor
        self.latest = await PostgresFeed(self.database).edge()
        self.middle_of_media = f"{ref_id(entity, 0).hex}"

    async def process(self) -> int:
        """The process of Postgres that serves the one connection."""
        [[pid]] = await self.database.fetch("SELECT pg_backend_pid()")
        return int(pid)

    def all(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """By name."""
        return {
            "attach": self.attach,
            "release": self.release,
            "restore": self.restore,
            "upload (reserve and publish)": self.upload,
            "review of a holding": self.review,
            "end of the trash, nothing due": self.purge_due,
            "abandoned uploads, none": lambda: PostgresCollection(self.database).condemn_abandoned(200),
            "claims of the reaper, none": lambda: PostgresCollection(self.database).claim(200, timedelta(seconds=30)),
            "feed, first page": lambda: self.feed(None, EventFilter()),
            "feed, middle": lambda: self.feed(self.middle, EventFilter()),
            "feed of an entity": lambda: self.feed(None, self._of(self.entity())),
            "refs of an entity": lambda: PostgresRefs(self.database).of_entity(self.key(self.entity())),
            "feed of a ref": lambda: self.feed(None, EventFilter(ref_id=ref_id(self.entity(), 0))),
            "feed, news": lambda: PostgresFeed(self.database).news(self.latest),
            "feed, its lag": lambda: PostgresFeed(self.database).lag(),
            "snapshot, first page": lambda: PostgresSnapshot(self.database).page(LARGE, None, PAGE),
            "snapshot, middle": lambda: PostgresSnapshot(self.database).page(LARGE, self.key(self.entity()), PAGE),
            "media, first page": lambda: self.media(None, MediaFilter(RefState.LIVE)),
            "media, middle": lambda: self.media(self.middle_of_media, MediaFilter(RefState.LIVE)),
            "recycle bin": lambda: self.media(None, MediaFilter(RefState.TRASHED)),
            "media of a blob": lambda: self.media(None, MediaFilter(None, sha256=self.blob())),
            "media, live and trashed": lambda: self.media(None, MediaFilter(None)),
            "media of a kind": lambda: self.media(None, MediaFilter(RefState.LIVE, self._type(), role=ROLE)),
            "media of a role": lambda: self.media(None, MediaFilter(RefState.LIVE, role=ROLE)),
            "media of an absent type": lambda: self.media(None, MediaFilter(RefState.LIVE, media_type="video/*")),
            "media of an entity": lambda: self.media(None, self._media_of(None)),
            "recycle bin of a kind": lambda: self.media(None, MediaFilter(RefState.TRASHED, self._type(), role=ROLE)),
            "recycle bin of an entity": lambda: self.media(None, self._media_of(RefState.TRASHED)),
            "recycle bin of a blob": lambda: self.media(None, MediaFilter(RefState.TRASHED, sha256=self.blob())),
            "refs of a blob": lambda: PostgresRefs(self.database).of_blob(LARGE, self.blob()),
            "why": lambda: PostgresReasons(self.database).of_blob(self.blob(), LARGE),
            "why, of all workspaces": lambda: PostgresReasons(self.database).of_blob(self.blob(), None),
            "descriptor by hash": lambda: PostgresDescriptors(self.database).of_blob(self.blob(), LARGE),
            "descriptor by ref": lambda: PostgresDescriptors(self.database).of_ref(ref_id(self.entity(), 0), LARGE),
        }

    def entity(self) -> int:
        """Any of the large workspace, whose numbers are even."""
        return self.rng.randrange(0, self.world.entities, 2)

    def key(self, entity: int) -> EntityKey:
        return self.world.key_of(entity)

    def blob(self) -> Sha256:
        """Any of the large workspace."""
        return blob_name(self.entity(), 0)

    async def attach(self) -> None:
        """Append held bytes to a list."""
        entity = self.entity()
        await self._change(attach(self.key(entity), ROLE, blob_name(entity, 0), ref_id=uuid7()))

    async def release(self) -> None:
        """The first of a list, by its id; another time it is a noop."""
        await self._change(release_ref(LARGE, ref_id(self.entity(), 0)))

    async def restore(self) -> None:
        """What was in the trash from the start."""
        await self._change(restore(LARGE, ref_id(self.entity() | 2, 3)))

    async def upload(self) -> None:
        """Bytes that nobody has."""
        sha256 = hash_of(str(self.rng.random()))
        reservation = await PostgresObjects(self.database).reserve(sha256, SIZE, timedelta(days=1))
        judge = holding_judge(LARGE, sha256, SIZE)
        await PostgresBlobs(self.database).publish(LARGE, reservation, MediaInfo("text/plain"), judge)

    async def make_due(self) -> None:
        """A review of something that is needed."""
        blob_id = self.entity() * BLOBS_OF_ENTITY + 1
        await self.database.fetch(_DUE, LARGE, blob_id)

    async def review(self) -> None:
        """Of one holding, which a ref needs."""
        collection = PostgresCollection(self.database)
        await collection.review(200, judge_holding, lambda review: judge_blob(review, _QUARANTINE))

    async def purge_due(self) -> None:
        """One look at the trash."""
        await PurgeDue(PostgresTrash(self.database))(200)

    async def feed(self, after: str | None, wanted: EventFilter) -> None:
        """A page."""
        await PostgresFeed(self.database).page(LARGE, after, PAGE, wanted)

    async def media(self, after: str | None, wanted: MediaFilter) -> None:
        """A page."""
        await PostgresCatalogue(self.database).page(LARGE, after, PAGE, wanted)

    def _media_of(self, state: RefState | None) -> MediaFilter:
        key = self.key(self.entity())
        return MediaFilter(state, key.type, key.id)

    def _type(self) -> str:
        return self.key(0).type

    def _of(self, entity: int) -> EventFilter:
        key = self.key(entity)
        return EventFilter(key.type, key.id)

    async def _change(self, command: Command) -> None:
        change = _RULES.change(command)
        await PostgresRefs(self.database).change(change.question, change.judge)
