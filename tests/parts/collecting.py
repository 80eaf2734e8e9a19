"""A database with a store and collectors: what the tests of collection start from, and what must hold at their end."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from time import monotonic

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.memory.storage import MemoryStorage
from service.adapters.postgres.collection import PostgresCollection
from service.adapters.postgres.database import Database
from service.adapters.postgres.leftovers import PostgresLeftovers
from service.adapters.postgres.renditions import PostgresRenditions
from service.adapters.postgres.sentinel import PostgresSentinel
from service.adapters.postgres.trash import PostgresTrash
from service.adapters.s3.storage import S3Storage
from service.application.collect import Collect, Collected
from service.application.drop_stale import DropStale
from service.application.guard_store import GuardStore
from service.application.lifetimes import Lifetimes
from service.application.purge_due import PurgeDue
from service.application.put_object import PutObject
from service.application.staging import stage
from service.application.upload_blob import Upload, UploadBlob
from service.domain.blob import MediaInfo, Sha256
from service.ports.renditions import PublishedRendition, RenditionKey
from service.ports.storage import Storage
from tests.parts.audit import ledger_flaws
from tests.parts.blobs import get, keys
from tests.parts.ledgers import ACTOR, IMAGE, LEASE, Ledger, set_clock_ahead

QUARANTINE = timedelta(hours=24)
MOMENT = timedelta(seconds=1)
Store = FilesystemStorage | S3Storage | MemoryStorage
_EMPTY = """TRUNCATE objects, blobs, holdings, holds, entities, refs, tombstones, events, rejections, idempotency,
    holding_reviews, blob_reviews, store_moves, renditions, rendition_claims, normalisations"""
_numbers = count(1)


class PlainProber:
    """Takes everything for text: what is found in bytes is no affair of these tests."""

    async def probe(self, _: object) -> MediaInfo:
        return MediaInfo("text/plain")

    def knows(self, media_type: str) -> bool:
        return media_type == "text/plain"

    async def warm(self) -> None:
        """Nothing to start."""

    async def aclose(self) -> None:
        """Nothing to stop."""


@dataclass
class Yard:
    """Everything over one database and one store.

    `ahead` is how far its clock is moved, `current` are the definitions of renditions that no collector drops.
    """

    database: Database
    store: Store
    ledger: Ledger
    ahead: timedelta = timedelta()
    current: Collection[str] = ()

    def collector(self, storage: Storage | None = None, clock: Callable[[], float] = monotonic) -> Collect:
        """A collector of its own, as another replica has it."""
        return Collect(
            GuardStore(PostgresSentinel(self.database), self.store),
            PostgresCollection(self.database),
            storage or self.store,
            PostgresLeftovers(self.database),
            self.store,
            PurgeDue(PostgresTrash(self.database)),
            DropStale(PostgresRenditions(self.database), frozenset(self.current), QUARANTINE),
            QUARANTINE,
            clock,
        )

    async def advance(self, by: timedelta) -> None:
        """Move the clock."""
        self.ahead += by
        await set_clock_ahead(self.database, self.ahead)

    async def upload(self, workspace: str, content: bytes | None = None, storage: Storage | None = None) -> Sha256:
        """Send bytes, through the use case; made up unless given."""
        body = content or f"bytes {next(_numbers)} of {id(self)}".encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield body

        ledger = self.ledger
        use = UploadBlob(storage or self.store, PlainProber(), ledger.objects, ledger.blobs, Lifetimes(holding=LEASE))
        await use(Upload(workspace, ACTOR, chunks(), 1_000_000))
        return Sha256(hashlib.sha256(body).hexdigest())

    async def render(self, key: RenditionKey, content: bytes, storage: Storage | None = None) -> PublishedRendition:
        """Publish these bytes as a rendition, as whoever makes renditions does."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        store, renditions = storage or self.store, PostgresRenditions(self.database)
        put = PutObject(store, self.ledger.objects, Lifetimes(holding=LEASE))
        staged = await stage(store, chunks(), 1_000_000)
        try:
            return await put(staged, lambda reservation: renditions.publish(key, reservation, IMAGE))
        finally:
            await staged.object.cancel()

    async def collect(self) -> list[Collected]:
        """Collect until there is nothing more to do now."""
        collect = self.collector()
        rounds = [await collect()]
        while rounds[-1].more or rounds[-1].steps:
            rounds.append(await collect())
        return rounds

    async def key_of(self, sha256: Sha256) -> str | None:
        """The key of the live object of a hash."""
        row = await self.database.fetchrow(
            "SELECT key FROM objects WHERE sha256 = $1 AND state = 'live'", bytes.fromhex(sha256)
        )
        return None if row is None else str(row["key"])

    async def readable(self, sha256: Sha256) -> bool:
        """Whether the bytes are there, whole."""
        key = await self.key_of(sha256)
        return key is not None and hashlib.sha256(await get(self.store, key)).hexdigest() == sha256

    async def flaws(self) -> list[str]:
        """What is wrong in the tables, the log and the store, with nothing under way."""
        rows = await self.database.fetch("SELECT key, state FROM objects")
        live, known = {row["key"] for row in rows if row["state"] == "live"}, {row["key"] for row in rows}
        stored = set(await keys(self.store))
        return [
            *await ledger_flaws(self.database),
            *(f"{key} has no bytes" for key in sorted(live - stored)),
            *(f"{key} has no row" for key in sorted(stored - known)),
        ]

    async def leftovers(self) -> list[str]:
        """What is still there after quiet and time without being needed (I15)."""
        queries = {
            "reviews": """SELECT count(*) FROM (SELECT due FROM holding_reviews UNION ALL SELECT due FROM blob_reviews)
                AS reviews WHERE due <= refkeep_now()""",
            "objects that are not live": "SELECT count(*) FROM objects WHERE state <> 'live'",
            "blobs without a reason": """SELECT count(*) FROM blobs b WHERE NOT EXISTS (
                SELECT FROM holdings h WHERE h.blob_id = b.id) AND NOT EXISTS (
                SELECT FROM renditions r JOIN holdings h ON h.blob_id = r.parent_id WHERE r.blob_id = b.id)""",
        }
        counts = {name: (await self.database.fetch(query))[0]["count"] for name, query in queries.items()}
        rows = await self.database.fetch("SELECT key FROM objects WHERE state = 'live'")
        same = {row["key"] for row in rows} == set(await keys(self.store))
        return [f"{number} {name}" for name, number in counts.items() if number] + ([] if same else ["other keys"])


@asynccontextmanager
async def opened_yard(database: Database, store: Store, ledger: Ledger) -> AsyncIterator[Yard]:
    """A yard on an empty database; its clock goes right again afterwards. Emptying is quicker than a new database."""
    await database.fetch(_EMPTY)
    await database.fetch(
        "UPDATE sentinel SET placed_at = NULL, advanced_at = NULL, rests_until = NULL, store_epoch = 0"
    )
    await database.fetch("UPDATE workspaces SET used_bytes = 0, used_items = 0")
    try:
        yield Yard(database, store, ledger)
    finally:
        await set_clock_ahead(database, timedelta())
