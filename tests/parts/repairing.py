"""A yard with what repairs it, and the ways in which a store loses things behind everybody's back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.adoption import PostgresAdoption
from service.adapters.postgres.clock import PostgresClock
from service.adapters.postgres.integrity import PostgresIntegrity
from service.adapters.postgres.scrubbing import PostgresScrubbing
from service.adapters.postgres.sentinel import PostgresSentinel
from service.adapters.postgres.space import PostgresSpace
from service.application.adopt_objects import AdoptObjects
from service.application.check_store import Check, CheckStore
from service.application.findings import Kind, Report
from service.application.guard_store import GuardStore
from service.application.lifetimes import Lifetimes
from service.application.scrub import Budget, Scrub
from service.application.walk_store import WalkStore
from service.domain.blob import Sha256
from service.domain.event import BlobEvent
from service.domain.health import Health
from service.ports.adoption import Adoption
from service.ports.storage import ByteStream, StagedObject, Storage, StoredObject
from tests.parts.blobs import key_for
from tests.parts.collecting import QUARANTINE, PlainProber, Store, Yard
from tests.parts.ledgers import LEASE, attach, book

AT_ONCE = Check(timedelta())
ALL = Budget()
DRY = Check(timedelta(), dry_run=True)


@dataclass
class Workshop:
    """A yard and its tools; `folder` is where the filesystem store keeps its bytes."""

    yard: Yard
    folder: Path

    @property
    def store(self) -> Store:
        return self.yard.store

    def guard(self) -> GuardStore:
        return GuardStore(PostgresSentinel(self.yard.database), self.store)

    def walk(self, storage: Storage | None = None) -> WalkStore:
        return WalkStore(PostgresIntegrity(self.yard.database), storage or self.store, QUARANTINE)

    async def fsck(
        self, check: Check = AT_ONCE, storage: Storage | None = None, tell: Callable[[float], None] | None = None
    ) -> Report:
        """One run."""
        database = self.yard.database
        lifetimes, space = Lifetimes(holding=LEASE), PostgresSpace(database)
        clock, walk = PostgresClock(database), self.walk(storage)
        return await CheckStore(self.guard(), walk, space, clock, self.store, lifetimes)(check, tell or _silent)

    async def adopt(
        self,
        workspace: str | None = None,
        *,
        dry_run: bool = False,
        storage: Storage | None = None,
        adoption: Adoption | None = None,
    ) -> Report:
        """`fsck --adopt`."""
        adopter, workspaces = adoption or PostgresAdoption(self.yard.database), self.yard.ledger.workspaces
        use = AdoptObjects(
            self.guard(), self.walk(storage), adopter, workspaces, PlainProber(), Lifetimes(holding=LEASE)
        )
        return await use(workspace, _silent, dry_run=dry_run)

    async def scrub(
        self, budget: Budget = ALL, storage: Storage | None = None, tell: Callable[[int], None] | None = None
    ) -> Report:
        """One run."""
        database = self.yard.database
        use = Scrub(
            self.guard(),
            PostgresScrubbing(database),
            PostgresIntegrity(database),
            storage or self.store,
            PostgresClock(database),
        )
        return await use(budget, tell or _silent)

    async def overwrite(self, key: str, content: bytes) -> None:
        """Put other bytes under a key that is there, as a failing disk does."""
        if isinstance(self.store, FilesystemStorage):
            (self.folder / "objects" / key).write_bytes(content)
        else:
            await self.store._client.put_object(Bucket=self.store._config.bucket, Key=key, Body=content)  # type: ignore[union-attr]

    async def stray(self, content: bytes) -> str:
        """Bytes that no row knows; their key."""
        key = key_for(hashlib.sha256(content).hexdigest())
        staged = await self.store.stage()
        await staged.write(content)
        await staged.commit(key)
        return key

    async def key_of(self, sha256: Sha256) -> str:
        """The key of the live object."""
        key = await self.yard.key_of(sha256)
        assert key is not None
        return key

    async def lose(self, sha256: Sha256) -> str:
        """Remove the bytes of a blob behind everybody's back; their key."""
        key = await self.key_of(sha256)
        await self.store.delete(key)
        return key

    async def health_of(self, sha256: Sha256) -> Health:
        """The mark of a blob."""
        row = await self.yard.database.fetchrow("SELECT health FROM blobs WHERE sha256 = $1", bytes.fromhex(sha256))
        assert row is not None
        return Health(row["health"])

    async def told(self, workspace: str) -> list[tuple[Health, str]]:
        """What a workspace's log says of the health of its blobs, and of which."""
        events = await self.yard.ledger.events(workspace)
        return [(event.health, event.sha256) for event in events if isinstance(event, BlobEvent)]

    async def image(self) -> dict[str, object]:
        """Everything that a repair might change, but the time of the last checks and the fence."""
        tables = ("blobs", "holdings", "refs", "events", "workspaces", "holding_reviews", "blob_reviews", "entities")
        rows = {table: await self.yard.database.fetch(f"TABLE {table}") for table in tables}
        objects = await self.yard.database.fetch("SELECT id, key, state, delete_after FROM objects ORDER BY id")
        stored = [(found.key, found.size, found.modified_at) async for found in self.store.list()]
        return {**{table: sorted(map(repr, found)) for table, found in rows.items()}, "o": objects, "s": stored}


def kinds(report: Report) -> dict[Kind, int]:
    """What a report counts."""
    return dict(report.counts)


class Between:
    """Answers as `store` does, with something done `before_list` begins and `after_list` has ended."""

    def __init__(self, store: Storage) -> None:
        self._store = store
        self.backend = store.backend

    async def stage(self) -> StagedObject:
        return await self._store.stage()

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
        return await self._store.open(key, offset, length)

    async def delete(self, key: str) -> None:
        await self._store.delete(key)

    async def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        async for found in self._store.list(after):
            yield found

    async def check(self) -> None:
        await self._store.check()


def _silent(_: float) -> None:
    """Nobody watches."""


async def filled(shop: Workshop, count: int = 6) -> tuple[str, list[Sha256]]:
    """A workspace with blobs, half of them used by refs, and a guard that has seen its store."""
    await shop.guard()()
    workspace = await shop.yard.ledger.workspace()
    hashes = [await shop.yard.upload(workspace) for _ in range(count)]
    for number, sha256 in enumerate(hashes[: count // 2]):
        await shop.yard.ledger.attach(attach(book(workspace, number), "cover", sha256, 0))
    return workspace, hashes
