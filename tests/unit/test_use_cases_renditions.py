"""Renditions are made once, whoever asks, and what cannot be made is not tried time and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uuid_utils.compat import uuid7

from service.adapters.eager_refs import EagerRefs
from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.memory.storage import MemoryStorage
from service.application.make_ahead import MOST_WAITING, MakeAhead
from service.application.make_rendition import Wanted
from service.domain.blob import Blob, MediaInfo, Sha256, parse_sha256
from service.domain.errors import (
    BytesCorrupt,
    DimensionsExceeded,
    NotFound,
    ObjectMissing,
    ReadOnly,
    RefkeepError,
    RenderBusy,
    RenderFailed,
    StorageUnavailable,
    Unavailable,
    UnreadableMedia,
)
from service.domain.event import DecisionKind
from service.domain.health import Health
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.ref import RefState, ResolvedRef
from service.domain.rendition import Format
from service.domain.slot import EntityKey
from service.ports.descriptors import BlobDescriptor, ServableBytes
from service.ports.idempotency import Replay
from service.ports.refs import RefLedger, RefOutcome
from service.ports.storage import Storage
from tests.parts.blobs import files_under, get, keys
from tests.parts.darkroom import CARD, THUMB, Darkroom
from tests.parts.desk import KnownDescriptors

pytestmark = pytest.mark.anyio

CONTENT = b"a picture"
NAME = parse_sha256(sha256(CONTENT).hexdigest())
WANTED = Wanted(
    ServableBytes(NAME, len(CONTENT), "image/png", f"{NAME[:2]}/{NAME[2:4]}/{NAME}.{uuid7()}"), THUMB, Format.WEBP
)
PARENT = WANTED.parent


class Clock:
    """A clock that tests move, and that sleeping moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def put(storage: Storage, key: str, content: bytes) -> None:
    staged = await storage.stage()
    await staged.write(content)
    await staged.commit(key)


@pytest.fixture(params=["memory", "filesystem"])
async def room(request: pytest.FixtureRequest, tmp_path: Path) -> Darkroom:
    storage = MemoryStorage(tmp_path) if request.param == "memory" else FilesystemStorage(tmp_path)
    await storage.aopen()
    await put(storage, WANTED.parent.storage_key, CONTENT)
    return Darkroom(storage)


@pytest.fixture
async def made(room: Darkroom) -> bytes:
    """What the renderer makes of it."""
    return b"8x8 webp by plain/1 of " + CONTENT


async def test_what_is_made_is_in_the_store_and_found_again(room: Darkroom, made: bytes) -> None:
    make = room.replica()
    assert await make.find(WANTED) is None
    rendition = await make(WANTED)
    assert await make.find(WANTED) == rendition
    assert await get(room.storage, rendition.content.storage_key) == made
    assert (rendition.content.sha256, rendition.content.media_type) == (sha256(made).hexdigest(), "image/webp")
    assert room.renditions.claims == set()


async def test_many_who_ask_on_two_replicas_have_it_made_once(room: Darkroom) -> None:
    replicas = [room.replica(sleep=Clock().sleep) for _ in range(2)]
    renditions = await asyncio.gather(*(replicas[number % 2](WANTED) for number in range(100)))
    assert room.renderer.made == [("thumb", Format.WEBP)]
    assert len({rendition.content.storage_key for rendition in renditions}) == 1
    assert len(await keys(room.storage)) == 2


async def test_other_presets_and_formats_are_made_meanwhile(room: Darkroom) -> None:
    make = room.replica()
    others = [replace(WANTED, format=Format.AVIF), replace(WANTED, preset=CARD, format=Format.PNG)]
    found = await asyncio.gather(*(make(each) for each in (WANTED, *others)))
    assert len({each.content.sha256 for each in found}) == 3


async def test_who_goes_away_does_not_stop_it_for_the_others_nor_for_the_next(room: Darkroom) -> None:
    make = room.replica()
    room.renderer.may_end.clear()
    first, second = (asyncio.create_task(make(WANTED)) for _ in range(2))
    await room.renderer.began.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    room.renderer.may_end.set()
    assert (await second).content.media_type == "image/webp"
    assert len(room.renderer.made) == 1


async def test_it_is_made_though_everyone_went_away(room: Darkroom) -> None:
    make = room.replica()
    room.renderer.may_end.clear()
    alone = asyncio.create_task(make(WANTED))
    await room.renderer.began.wait()
    alone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await alone
    room.renderer.may_end.set()
    assert (await make(WANTED)).content.size
    assert len(room.renderer.made) == 1


async def test_what_is_made_ends_with_the_process(room: Darkroom, tmp_path: Path) -> None:
    make = room.replica()
    room.renderer.may_end.clear()
    waiting = asyncio.create_task(make(WANTED))
    await room.renderer.began.wait()
    await make.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert room.renditions.claims == set(), "the next may begin at once"
    await make.aclose()


@pytest.mark.parametrize(
    "error", [UnreadableMedia("image/png"), DimensionsExceeded(9, 9, 9, None), RenderFailed("x/y")]
)
async def test_what_cannot_be_made_is_not_tried_again_for_a_minute(room: Darkroom, error: Exception) -> None:
    clock = Clock()
    make = room.replica(clock=clock)
    room.renderer.fails_with = error
    for _ in range(3):
        with pytest.raises(type(error)):
            await make(WANTED)
    assert len(room.renderer.made) == 1
    clock.now += 61
    room.renderer.fails_with = None
    assert (await make(WANTED)).content.size


async def test_only_so_many_failures_are_remembered(room: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.application.make_rendition._MOST_REFUSED", 1)
    make = room.replica()
    room.renderer.fails_with = UnreadableMedia("image/png")
    for wanted in (WANTED, replace(WANTED, format=Format.AVIF), WANTED):
        with pytest.raises(UnreadableMedia):
            await make(wanted)
    assert len(room.renderer.made) == 3


async def test_what_may_succeed_later_is_tried_again(room: Darkroom) -> None:
    make = room.replica()
    room.renderer.fails_with = RenderBusy()
    with pytest.raises(RenderBusy):
        await make(WANTED)
    room.renderer.fails_with = None
    assert (await make(WANTED)).content.size


async def test_more_than_may_be_begun_is_refused_at_once_and_who_joins_is_not(room: Darkroom) -> None:
    make = room.replica(most_at_once=1)
    room.renderer.may_end.clear()
    first = asyncio.create_task(make(WANTED))
    await room.renderer.began.wait()
    second = asyncio.create_task(make(WANTED))
    with pytest.raises(RenderBusy):
        await make(replace(WANTED, format=Format.AVIF))
    room.renderer.may_end.set()
    assert await first == await second


async def test_nobody_waits_for_ever_for_another_replica(room: Darkroom) -> None:
    clock = Clock()
    make = room.replica(clock=clock, sleep=clock.sleep)
    room.renditions.claims.add(make.key(WANTED))
    with pytest.raises(RenderBusy):
        await make(WANTED)
    assert clock.now < 140
    assert room.renditions.claims == {make.key(WANTED)}, "it is another's"


@pytest.mark.parametrize("error", [None, Unavailable("The database does not answer.")])
async def test_a_claim_is_kept_for_as_long_as_it_takes(room: Darkroom, error: Exception | None) -> None:
    room.renderer.may_end.clear()
    room.renditions.fails_with = error
    make, prolonged = room.replica(claim_for=timedelta(milliseconds=3)), room.renditions.prolonged
    making = asyncio.create_task(make(WANTED))
    async with asyncio.timeout(10):
        assert {await prolonged.get() for _ in range(3)} == {(make.key(WANTED), make.claim_for)}
    room.renderer.may_end.set()
    await making
    before = prolonged.qsize()
    await asyncio.sleep(0.02)
    assert prolonged.qsize() == before


async def test_a_claim_that_cannot_be_ended_ends_by_itself(room: Darkroom) -> None:
    room.renditions.fails_with = Unavailable("The database does not answer.")
    assert (await room.replica()(WANTED)).content.size


async def test_where_nothing_may_be_written_nothing_is_made(room: Darkroom) -> None:
    made = await room.replica()(WANTED)
    reading = room.replica(read_only=True)
    assert await reading.find(WANTED) == made
    with pytest.raises(ReadOnly):
        await reading(replace(WANTED, format=Format.AVIF))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"other pic", BytesCorrupt),
        (b"shorter", StorageUnavailable),
        (None, ObjectMissing),
    ],
)
async def test_a_parent_that_is_not_there_as_it_was_makes_nothing(
    tmp_path: Path, content: bytes | None, error: type[RefkeepError]
) -> None:
    storage = MemoryStorage(tmp_path)
    await storage.aopen()
    if content is not None:
        await put(storage, WANTED.parent.storage_key, content)
    room = Darkroom(storage)
    with pytest.raises(error):
        await room.replica()(WANTED)
    assert room.renderer.made == []
    assert files_under(tmp_path) == set()


@pytest.mark.parametrize(("health", "error"), [(Health.MISSING, ObjectMissing), (Health.CORRUPT, BytesCorrupt)])
async def test_a_marked_parent_makes_nothing(room: Darkroom, health: Health, error: type[RefkeepError]) -> None:
    with pytest.raises(error):
        await room.replica()(replace(WANTED, parent=replace(WANTED.parent, health=health)))
    assert room.renderer.made == []


async def test_a_parent_that_went_meanwhile_leaves_nothing_of_it(room: Darkroom) -> None:
    room.renditions.lost.add(Sha256(NAME))
    with pytest.raises(NotFound):
        await room.replica()(WANTED)
    assert await keys(room.storage) == [WANTED.parent.storage_key]


async def test_another_engine_makes_it_anew(room: Darkroom) -> None:
    first = await room.replica()(WANTED)
    room.renderer.engine = "plain/2"
    second = await room.replica()(WANTED)
    assert first.content.sha256 != second.content.sha256


# --- ahead ------------------------------------------------------------------------------------------------------------

POSTERS = Policies(
    (
        Policy("film", "poster", Cardinality.SINGLE, Visibility.PUBLIC, presets=("thumb",), eager=("thumb",)),
        Policy("film", "still", Cardinality.LIST, Visibility.PUBLIC, presets=("thumb",)),
    ),
    (THUMB, CARD),
)


class Ledger:
    """A ledger that answers what it is told to, and what was asked of it."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.asked = list(answers), list[str]()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def answer(*_: object) -> object:
            self.asked.append(name)
            return self.answers.pop(0)

        return answer


def shown(role: str = "poster") -> ResolvedRef:
    entity = EntityKey("ours", "film", "1")
    place = (0, None, RefState.LIVE, Visibility.PUBLIC)
    ref: Any = SimpleNamespace(entity=entity, role=role, place=place, sha256=NAME)
    return ResolvedRef(ref, Blob(NAME, len(CONTENT), MediaInfo("image/png"), datetime(2026, 1, 1, tzinfo=UTC)))


def outcome(kind: DecisionKind, ref: ResolvedRef | None) -> RefOutcome:
    return RefOutcome(kind, EntityKey("ours", "film", "1"), 1, ref)


async def test_what_fills_a_slot_is_begun_and_nothing_else() -> None:
    begun: list[ResolvedRef] = []
    ref = shown()
    inserted, noop = outcome(DecisionKind.INSERT, ref), outcome(DecisionKind.NOOP, ref)
    replay = Replay(b"{}")
    ledger = Ledger(inserted, noop, outcome(DecisionKind.RELEASE, None), replay, (inserted, noop, inserted), replay)
    refs: Any = EagerRefs(cast("RefLedger", ledger), begun.append)
    for _ in range(4):
        await refs.change(None, None)
    assert begun == [ref]
    for _ in range(2):
        await refs.change_all("ours", [])
    assert begun == [ref] * 3


async def test_everything_else_is_asked_of_the_ledger() -> None:
    ledger = Ledger(1, 2, 3, 4)
    refs: Any = EagerRefs(cast("RefLedger", ledger), lambda _: None)
    assert [await refs.rehearse(0, 0), await refs.of_entity(0), await refs.find(0, 0), await refs.of_blob(0, 0)] == [
        1,
        2,
        3,
        4,
    ]
    assert ledger.asked == ["rehearse", "of_entity", "find", "of_blob"]


@asynccontextmanager
async def ahead_of(room: Darkroom, blob: BlobDescriptor | None) -> AsyncIterator[MakeAhead]:
    descriptors = KnownDescriptors({NAME: (blob, {"ours"})} if blob else {})
    ahead = MakeAhead(POSTERS, descriptors, room.replica())
    running = asyncio.create_task(ahead.run())
    yield ahead
    running.cancel()


async def test_eager_presets_are_made_one_after_the_other_and_once(room: Darkroom) -> None:
    async with ahead_of(room, BlobDescriptor(PARENT, public=False, held=True)) as ahead:
        for role in ("still", "unheard-of", "poster", "poster"):
            ahead.begin(shown(role))
        async with asyncio.timeout(10):
            await ahead.idle()
    assert room.renderer.made == [("thumb", each) for each in (Format.AVIF, Format.WEBP, Format.PNG)]


@pytest.mark.parametrize("hold", [None, 451])
async def test_of_what_is_gone_or_on_hold_nothing_is_made_ahead(room: Darkroom, hold: int | None) -> None:
    blob = None if hold is None else BlobDescriptor(PARENT, public=True, held=True, hold=hold)
    async with ahead_of(room, blob) as ahead:
        ahead.begin(shown())
        await ahead.idle()
    assert room.renderer.made == []


async def test_a_failure_ends_one_and_not_the_next(room: Darkroom) -> None:
    async with ahead_of(room, BlobDescriptor(PARENT, public=False, held=True)) as ahead:
        room.renderer.fails_with = RuntimeError("broken")
        ahead.begin(shown())
        await ahead.idle()
        room.renderer.fails_with = None
        ahead.begin(shown())
        await ahead.idle()
    assert len(room.renditions.known) == 3


async def test_what_does_not_fit_is_left_for_those_who_ask(room: Darkroom) -> None:
    ahead = MakeAhead(POSTERS, KnownDescriptors(), room.replica())
    for _ in range(MOST_WAITING + 1):
        ahead.begin(shown())
    assert room.renderer.made == []
