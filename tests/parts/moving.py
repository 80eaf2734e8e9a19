"""Two stores of one database, replicas with either as their own, and runs of `migrate-store` between them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from service.adapters.moving import Elsewhere, MovingStorage
from service.adapters.postgres.blobs import PostgresBlobs
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.postgres.integrity import PostgresIntegrity
from service.adapters.postgres.moves import PostgresMoves
from service.adapters.postgres.renditions import PostgresRenditions
from service.adapters.postgres.sentinel import PostgresSentinel
from service.application.collect import Collect
from service.application.copy_objects import Pass
from service.application.guard_store import GuardStore
from service.application.lifetimes import Lifetimes
from service.application.make_rendition import MakeRendition, Wanted
from service.application.move_store import Moved, MoveStore, Side, Wish
from service.application.standing import StoreStanding
from service.application.throttle import Throttle
from service.application.upload_blob import Upload, UploadBlob
from service.domain.blob import Sha256
from service.domain.errors import ObjectMissing, StorageUnavailable
from service.domain.rendition import Format, Preset
from tests.parts.blobs import get, keys
from tests.parts.collecting import PlainProber, Yard
from tests.parts.darkroom import PlainRenderer
from tests.parts.ledgers import ACTOR, LEASE

OLD, NEW, THIRD = "file:///old/blobs", "file:///new/blobs", "file:///third/blobs"


@dataclass
class Replica:
    """A process that serves with the store at `location` as its own."""

    yard: Yard
    location: str
    storage: MovingStorage
    standing: StoreStanding

    async def upload(self, workspace: str, content: bytes, storage: Any = None) -> Sha256:
        """Send bytes through this replica."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        blobs = PostgresBlobs(self.yard.database, self.standing)
        use = UploadBlob(
            storage or self.storage, PlainProber(), self.yard.ledger.objects, blobs, Lifetimes(holding=LEASE)
        )
        await use(Upload(workspace, ACTOR, chunks(), 1_000_000))
        return Sha256(hashlib.sha256(content).hexdigest())

    async def render(self, parent: Sha256, preset: Preset, storage: Any = None) -> Sha256:
        """Make a rendition through this replica."""
        database, objects = self.yard.database, self.yard.ledger.objects
        renditions, store = PostgresRenditions(database, self.standing), storage or self.storage
        found = await PostgresDescriptors(database).of_blob(parent, None)
        assert found is not None
        make = MakeRendition(renditions, PlainRenderer(), store, objects, Lifetimes(holding=LEASE))
        return (await make(Wanted(found.content, preset, Format.WEBP))).content.sha256

    async def read(self, sha256: Sha256) -> bytes:
        """The bytes of a live blob."""
        key = await self.yard.key_of(sha256)
        assert key is not None
        return await get(self.storage, key)

    def collector(self, own: Any) -> Collect:
        """Its collector; `own` has the notes."""
        collect = self.yard.collector(self.storage)
        return Collect(
            GuardStore(PostgresSentinel(self.yard.database), own),
            collect.collection,
            collect.storage,
            collect.leftovers,
            own,
            collect.purge_due,
            collect.drop_stale,
            collect.quarantine,
        )


@dataclass
class Move:
    """The two stores, and whatever else is opened by its location."""

    yard: Yard
    stores: dict[str, Any]
    replicas: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def old(self) -> Any:
        return self.stores[OLD]

    @property
    def new(self) -> Any:
        return self.stores[NEW]

    def ledger(self) -> PostgresMoves:
        return PostgresMoves(self.yard.database)

    def runner(
        self, source: Any = None, target: Any = None, *, ledger: Any = None, back: bool = False, jobs: int = 3
    ) -> MoveStore:
        """A run that is to come, from old to new unless `back`; stores may be wrapped."""
        names = (NEW, OLD) if back else (OLD, NEW)
        one, other = ((wrapped or self.stores[at]) for wrapped, at in zip((source, target), names, strict=True))
        database, sides = self.yard.database, (Side(one, one, names[0]), Side(other, other, names[1]))
        return MoveStore(
            ledger or self.ledger(), PostgresSentinel(database), PostgresIntegrity(database), *sides, jobs=jobs
        )

    async def run(self, wish: Wish = Wish(), source: Any = None, target: Any = None, **facts: Any) -> Moved:  # noqa: B008
        """One run."""
        return await self.runner(source, target, **facts)(wish, Throttle(), lambda _: None)

    async def seen(self, wish: Wish = Wish(), **facts: Any) -> Pass:  # noqa: B008
        """What one run saw."""
        return (await self.run(wish, **facts)).seen

    def replica(self, location: str) -> Replica:
        """A process that has just been started with these settings."""

        async def opened(at: str) -> Any:
            if at not in self.stores:
                raise StorageUnavailable("The store does not answer.")
            return _Kept(self.stores[at])

        standing = StoreStanding(self.ledger(), self.stores[location])
        elsewhere = Elsewhere(standing, location, opened)
        self.replicas.push_async_callback(elsewhere.aclose)
        return Replica(self.yard, location, MovingStorage(self.stores[location], elsewhere), standing)

    async def flaws(self) -> list[str]:
        """What is wrong with the new store as the only one: what is acknowledged must be there, whole."""
        rows = await self.yard.database.fetch("SELECT key FROM objects WHERE state <> 'pending'")
        stored = await keys(self.new)
        wrong = [f"{row['key']} has no bytes" for row in rows if row["key"] not in stored]
        hashes = {key: hashlib.sha256(await get(self.new, key)).hexdigest() for key in stored}
        return [*wrong, *(f"{key} has other bytes" for key, found in hashes.items() if found != key[6:70])]


class _Kept:
    """Answers as `store` does, but belongs to the test."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def aclose(self) -> None:
        """The test closes it."""


class Meddled:
    """Answers as `store` does, with something done after an object is opened, or after one was committed."""

    def __init__(
        self,
        store: Any,
        opened: Callable[[str], Awaitable[object]] | None = None,
        committed: Callable[[str], Awaitable[object]] | None = None,
    ) -> None:
        self._store, self._opened, self._committed = store, opened, committed
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> Any:
        self.asked.append(key)
        stream = await self._store.open(key, offset, length)
        try:
            if self._opened is not None:
                await self._opened(key)
        except BaseException:
            await stream.aclose()
            raise
        return stream

    async def stage(self) -> Any:
        return _MeddledStaged(await self._store.stage(), self._committed)


class _MeddledStaged:
    def __init__(self, staged: Any, committed: Callable[[str], Awaitable[object]] | None) -> None:
        self._staged, self._committed = staged, committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._staged, name)

    async def commit(self, key: str) -> None:
        await self._staged.commit(key)
        if self._committed is not None:
            await self._committed(key)


@dataclass
class Crowd:
    """Clients and collectors of `replicas`, in this process: they write, read, give up, collect; nothing may fail."""

    move: Move
    workspace: str
    replicas: list[Replica]
    known: set[Sha256]
    turns: int = 0
    turned: asyncio.Event = field(default_factory=asyncio.Event)
    failures: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """For as long as the block runs."""
        stopped = asyncio.Event()
        works = (self._write, self._read, self._give_up_and_collect)
        tasks = [asyncio.create_task(self._work(work, random.Random(n), stopped)) for n, work in enumerate(works)]
        try:
            yield
        finally:
            stopped.set()
            await asyncio.gather(*tasks)

    async def goes_on(self) -> None:
        """Return after a dozen turns more, of which some began after the call."""
        wanted = self.turns + 12
        async with asyncio.timeout(60):
            while self.turns < wanted and not self.failures:
                self.turned.clear()
                await self.turned.wait()

    async def _work(
        self, work: Callable[[random.Random], Awaitable[None]], luck: random.Random, stopped: asyncio.Event
    ) -> None:
        while not stopped.is_set():
            try:
                await work(luck)
            except Exception as error:  # noqa: BLE001 - told by the test
                self.failures.append(f"{work.__name__}: {error!r}")
            self.turns += 1
            self.turned.set()
            await asyncio.sleep(0.01)

    async def _write(self, luck: random.Random) -> None:
        self.known.add(await luck.choice(self.replicas).upload(self.workspace, luck.randbytes(2000)))

    async def _read(self, luck: random.Random) -> None:
        sha256 = luck.choice(sorted(self.known))
        try:
            content = await luck.choice(self.replicas).read(sha256)
            assert hashlib.sha256(content).hexdigest() == sha256
        except (AssertionError, ObjectMissing):
            if sha256 in self.known:
                raise

    async def _give_up_and_collect(self, luck: random.Random) -> None:
        sha256 = luck.choice(sorted(self.known))
        self.known.remove(sha256)
        await self.move.yard.ledger.blobs.release(self.workspace, sha256, ACTOR)
        replica = luck.choice(self.replicas)
        for _ in range(2):
            await self.move.yard.database.fetch(
                "UPDATE objects SET delete_after = refkeep_now() WHERE state = 'condemned'"
            )
            await replica.collector(self.move.stores[replica.location])()


class Died(StorageUnavailable):
    """The process was killed."""


@dataclass
class Life:
    """A process that dies at its step number `ends_at`: before what it does there, or right after it."""

    ends_at: int
    steps: int = 0

    def step(self) -> None:
        """Nothing is done any more once it is dead."""
        self.steps += 1
        if self.steps >= self.ends_at:
            raise Died


class Mortal:
    """Answers as `target` does, for as long as the process lives; each call that changes something is two steps."""

    CHANGES = frozenset({"begin", "note_copies", "close", "finish", "write_note", "delete", "commit"})

    def __init__(self, target: Any, life: Life) -> None:
        self._target, self._life = target, life

    def __getattr__(self, name: str) -> Any:
        if name == "stage":
            return self._stage
        found = getattr(self._target, name)
        return self._mortal(found) if name in self.CHANGES else found

    async def _stage(self) -> Any:
        return Mortal(await self._target.stage(), self._life)

    def _mortal(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def called(*args: Any) -> Any:
            self._life.step()
            result = await call(*args)
            self._life.step()
            return result

        return called


@asynccontextmanager
async def opened_move(yard: Yard, new: Any, **others: Any) -> AsyncIterator[Move]:
    """The yard's store is the old one; what replicas opened is closed at the end."""
    move = Move(yard, {OLD: yard.store, NEW: new, **others})
    async with move.replicas:
        yield move
