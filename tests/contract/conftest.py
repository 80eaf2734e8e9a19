"""The stores and ledgers that every contract runs on. A new adapter joins with one function of a few lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.memory.database import MemoryDatabase
from service.adapters.memory.storage import MemoryStorage
from service.adapters.moving import Elsewhere, MovingStorage, OtherStore
from service.application.guard_store import NOTE
from service.application.standing import StoreStanding
from service.ports.moves import Move, MoveLedger, Stores
from service.ports.storage import Storage
from tests.parts.blobs import files_under, keys
from tests.parts.buckets import emptied_bucket, opened, physical_keys
from tests.parts.ledgers import Ledger, memory_ledger, opened_ledger
from tests.parts.relay import running_relay
from tests.parts.seaweed import Seaweed


@dataclass(frozen=True)
class Store:
    """A store, and a look behind it: the keys it holds, and whatever else lies there or waits on its way in."""

    storage: Storage
    contents: Callable[[], Awaitable[set[str]]]


@dataclass(frozen=True)
class LosableStore:
    """A store that can be made to vanish: unmounted, unplugged, stopped."""

    storage: Storage
    lose: Callable[[], Awaitable[None]]


@asynccontextmanager
async def memory(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Store]:
    storage = MemoryStorage(folder / "spool")
    await storage.aopen()

    async def contents() -> set[str]:
        return set(await keys(storage)) | files_under(folder / "spool")

    yield Store(storage, contents)


@asynccontextmanager
async def filesystem(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Store]:
    storage = FilesystemStorage(folder)
    await storage.aopen()

    async def contents() -> set[str]:
        return {path.removeprefix("objects/") for path in files_under(folder)}

    yield Store(storage, contents)


@asynccontextmanager
async def s3(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Store]:
    config = await emptied_bucket(request.getfixturevalue("seaweed"))

    async def contents() -> set[str]:
        return await physical_keys(config) | files_under(folder)

    async with opened(config, folder) as storage:
        yield Store(storage, contents)


@asynccontextmanager
async def moving(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Store]:
    """A store from which nothing was moved yet, and the new one."""
    new, old = MemoryStorage(folder / "new"), FilesystemStorage(folder / "old")
    for each in (new, old):
        await each.aopen()
        await each.write_note(NOTE, b"ours")
    standing = StoreStanding(cast("MoveLedger", UnderWay()), new)
    elsewhere = Elsewhere(standing, "file:///new", lambda _: _answered(cast("OtherStore", old)))

    async def contents() -> set[str]:
        left = {path.removeprefix("objects/") for path in files_under(folder / "old")} - {NOTE}
        return set(await keys(new)) | files_under(folder / "new") | left

    try:
        yield Store(MovingStorage(new, elsewhere), contents)
    finally:
        await elsewhere.aclose()


class UnderWay:
    """A database that says so."""

    async def stores(self) -> Stores:
        return Stores(1, "ours", Move("file:///old", "file:///new", "nobody's"))


async def _answered(store: OtherStore) -> OtherStore:
    return store


@asynccontextmanager
async def losable_filesystem(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[LosableStore]:
    storage = FilesystemStorage(folder / "mount")
    await storage.aopen()

    async def lose() -> None:
        (folder / "mount").rename(folder / "unmounted")

    yield LosableStore(storage, lose)


@asynccontextmanager
async def losable_s3(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[LosableStore]:
    server: Seaweed = request.getfixturevalue("seaweed")
    async with AsyncExitStack() as network, AsyncExitStack() as rest:
        relay = await network.enter_async_context(running_relay((server.host, server.port)))
        config = await emptied_bucket(server, endpoint_url=relay.url, patience=20.0, attempts=2)
        yield LosableStore(await rest.enter_async_context(opened(config, folder)), network.aclose)


@pytest.fixture(params=[memory, filesystem, s3, moving], ids=lambda adapter: adapter.__name__)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    make: Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[Store]] = request.param
    async with make(request, tmp_path) as made:
        yield made


@pytest.fixture(params=[memory, filesystem, s3], ids=lambda adapter: adapter.__name__)
async def bare(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Those that have notes of their own."""
    make: Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[Store]] = request.param
    async with make(request, tmp_path) as made:
        yield made


@pytest.fixture(params=[losable_filesystem, losable_s3], ids=lambda adapter: adapter.__name__)
async def losable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LosableStore]:
    make: Callable[[pytest.FixtureRequest, Path], AbstractAsyncContextManager[LosableStore]] = request.param
    async with make(request, tmp_path) as made:
        yield made


@pytest.fixture
def memory_tables() -> Ledger:
    return memory_ledger(MemoryDatabase())


@pytest.fixture
async def postgres_tables(database_url: str) -> AsyncIterator[Ledger]:
    async with opened_ledger(database_url) as ledger:
        yield ledger


@pytest.fixture(params=["memory", "postgres"])
def ledger(request: pytest.FixtureRequest) -> Ledger:
    made: Ledger = request.getfixturevalue(f"{request.param}_tables")
    return made
