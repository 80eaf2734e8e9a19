"""What delivery remembers, and what it never does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from uuid_utils.compat import uuid7

from service.adapters.filesystem.cached import is_at_hand
from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.memory.storage import MemoryStorage, MemoryStream
from service.delivery.access import Grant, Reuse
from service.delivery.asgi import Message
from service.delivery.bodies import SMALL, SmallBodies
from service.delivery.headers import CrossOrigin
from service.delivery.known import Asker, KnownGrants
from service.delivery.routine import AtHand
from service.domain.blob import parse_sha256
from service.domain.health import Health
from service.domain.policy import Visibility
from service.domain.ref import RefState
from tests.parts.desk import FILE, OURS, REF_ID, Desk, call, desk_on, noise, scope_of, stays
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio

TTL = 1.0


class Clock:
    """A clock that tests move."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class CountingStorage(MemoryStorage):
    """Knows how often it was asked for bytes."""

    opened = 0

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> MemoryStream:
        self.opened += 1
        return await super().open(key, offset, length)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[CountingStorage]:
    storage = CountingStorage(tmp_path)
    await storage.aopen()
    yield storage
    await storage.aclose()


@pytest.fixture
def desk(storage: CountingStorage, clock: Clock) -> Desk:
    return desk_on(storage, KnownGrants(TTL, clock))


async def status(desk: Desk, path: str, headers: dict[str, str] | None = None) -> int:
    return (await call(desk.delivery, path, headers=headers)).status


@pytest.mark.parametrize(("hold", "then"), [(404, 404), (451, 451)])
async def test_a_hold_reaches_everyone_within_the_time_to_live(desk: Desk, clock: Clock, hold: int, then: int) -> None:
    path = await desk.add(b"abc")
    assert await status(desk, path) == 200
    name = parse_sha256(path.removeprefix("/blobs/"))
    blob, holders = desk.descriptors.blobs[name]
    desk.descriptors.blobs[name] = (replace(blob, hold=hold), holders)
    for headers in ({}, {"range": "bytes=0-1"}, {"if-none-match": "*"}):
        clock.now += TTL
        assert await status(desk, path, headers) == then


async def test_what_was_granted_is_not_asked_again_within_the_time_to_live(desk: Desk, clock: Clock) -> None:
    path = await desk.add(b"abc")
    assert await status(desk, path) == 200
    desk.descriptors.blobs.clear()
    clock.now += TTL * 0.99
    assert await status(desk, path) == 200
    clock.now += TTL * 0.02
    assert await status(desk, path) == 404


async def test_what_is_granted_anew_keeps_the_answer_that_followed_from_it(desk: Desk, clock: Clock) -> None:
    path = await desk.add(noise(1000))
    asked, grants = (parse_sha256(path.removeprefix("/blobs/")), Asker.ANYONE), desk.delivery.permissions.grants
    first, second = [await call(desk.delivery, path) for _ in range(2)]
    known = grants.get(asked)
    assert known is not None
    assert known.routine is not None
    clock.now += TTL
    assert grants.get(asked) is None
    assert await call(desk.delivery, path) == second == first
    assert grants.get(asked) is known
    blob, holders = desk.descriptors.blobs[asked[0]]
    desk.descriptors.blobs[asked[0]] = (replace(blob, content=replace(blob.content, media_type="image/gif")), holders)
    clock.now += TTL
    assert (await call(desk.delivery, path)).headers["content-type"] == "image/gif"
    assert (await call(desk.delivery, path)).headers["content-type"] == "image/gif"


async def test_an_absence_is_never_remembered(desk: Desk) -> None:
    content = noise(9)
    elsewhere = await desk.add(content)
    known = dict(desk.descriptors.blobs)
    desk.descriptors.blobs.clear()
    assert await status(desk, elsewhere) == 404
    desk.descriptors.blobs.update(known)
    assert await status(desk, elsewhere) == 200


async def test_a_refusal_is_never_remembered(desk: Desk) -> None:
    path = await desk.add(b"abc", public=False)
    assert await status(desk, path) == 404
    desk.describe(desk.descriptors.blobs[parse_sha256(path.removeprefix("/blobs/"))][0].content, public=True)
    assert await status(desk, path) == 200


async def test_what_one_workspace_may_have_is_not_granted_to_another(desk: Desk) -> None:
    path = await desk.add(b"abc", public=False)
    assert await status(desk, path, OURS) == 200
    assert await status(desk, path) == 404
    assert await status(desk, path, {"authorization": "Bearer theirs"}) == 404
    assert await status(desk, path, OURS) == 200


async def test_bytes_that_went_and_came_again_are_served_at_once(desk: Desk, storage: CountingStorage) -> None:
    path = await desk.add(noise(SMALL + 1))
    assert await status(desk, path) == 200
    name = parse_sha256(path.removeprefix("/blobs/"))
    blob, holders = desk.descriptors.blobs[name]
    await storage.delete(blob.content.storage_key)
    again = replace(blob.content, storage_key=blob.content.storage_key.replace(str(REF_ID), str(uuid7())))
    staged = await storage.stage()
    await staged.write(noise(SMALL + 1))
    await staged.commit(again.storage_key)
    desk.descriptors.blobs[name] = (replace(blob, content=again), holders)
    assert await status(desk, path) == 200


async def test_bytes_that_went_are_absent_at_once(desk: Desk, storage: CountingStorage) -> None:
    path = await desk.add(noise(SMALL + 1))
    assert await status(desk, path) == 200
    blob, _ = desk.descriptors.blobs.pop(parse_sha256(path.removeprefix("/blobs/")))
    await storage.delete(blob.content.storage_key)
    assert await status(desk, path) == 404


@pytest.mark.parametrize("health", [Health.MISSING, Health.CORRUPT])
async def test_what_is_healed_is_served_at_once(desk: Desk, health: Health) -> None:
    path = await desk.add(b"abc")
    name = parse_sha256(path.removeprefix("/blobs/"))
    blob, holders = desk.descriptors.blobs[name]
    desk.descriptors.blobs[name] = (replace(blob, content=replace(blob.content, health=health)), holders)
    assert await status(desk, path) == 500
    desk.descriptors.blobs[name] = (blob, holders)
    assert await status(desk, path) == 200


async def test_a_released_ref_ends_within_the_time_to_live(desk: Desk, clock: Clock) -> None:
    await desk.add_media()
    assert await status(desk, FILE) == 200
    await desk.add_media(Visibility.PUBLIC, RefState.TRASHED)
    clock.now += TTL
    assert await status(desk, FILE) == 404
    assert REF_ID in desk.descriptors.refs


@pytest.mark.parametrize(("size", "reads"), [(0, 1), (1, 1), (SMALL, 1), (SMALL + 1, 3)])
async def test_a_small_blob_is_read_once(desk: Desk, storage: CountingStorage, size: int, reads: int) -> None:
    content = noise(size)
    path = await desk.add(content)
    for _ in range(3):
        assert (await call(desk.delivery, path)).body == content
    assert storage.opened == reads


@pytest.mark.parametrize("size", [0, 1, SMALL])
async def test_the_answer_kept_is_the_answer_given(desk: Desk, size: int) -> None:
    content = noise(size)
    path = await desk.add(content)
    first, *others = [await call(desk.delivery, path, {"accept": "*/*", "x-request-id": "mine"}) for _ in range(4)]
    assert (first.status, first.body, first.complete) == (200, content, True)
    assert others == [first] * 3


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if-none-match": "*"}, 304),
        ({"if-match": '"other"'}, 412),
        ({"range": "bytes=1-2"}, 206),
        ({"range": "bytes=1-2", "if-range": '"other"'}, 200),
        ({"authorization": "Bearer bad"}, 401),
    ],
)
async def test_the_answer_kept_is_not_for_those_who_ask_for_more(
    desk: Desk, headers: dict[str, str], expected: int
) -> None:
    path = await desk.add(noise(1000))
    for _ in range(3):
        assert await status(desk, path) == 200
    assert await status(desk, path, headers) == expected
    assert await status(desk, path) == 200


async def test_the_answer_kept_is_not_for_head_nor_for_signed_addresses(desk: Desk) -> None:
    path = await desk.add(noise(1000))
    for _ in range(3):
        await call(desk.delivery, path)
    assert (await call(desk.delivery, path, method="HEAD")).body == b""
    assert (await call(desk.delivery, path, query_string=b"signature=abc&expires=1&key=k")).status == 404


async def test_the_answer_kept_names_no_origin_that_another_page_had(storage: CountingStorage, clock: Clock) -> None:
    origins = CrossOrigin(("https://a.example", "https://b.example"))
    desk = desk_on(storage, KnownGrants(TTL, clock), cross_origin=origins)
    path = await desk.add(noise(1000))
    for _ in range(2):
        for origin in (None, *origins.origins, "https://c.example"):
            answer = await call(desk.delivery, path, {"origin": origin} if origin else {})
            allowed = origin if origin in origins.origins else None
            assert (answer.status, answer.headers.get("access-control-allow-origin")) == (200, allowed)
            assert answer.headers["vary"] == "Origin"


OFFERS: dict[str, object] = {"http.response.pathsend": {}}


async def test_a_file_at_hand_is_sent_without_opening_it_anew(tmp_path: Path, clock: Clock) -> None:
    storage, content = FilesystemStorage(tmp_path), noise(SMALL + 1)
    await storage.aopen()
    desk = desk_on(storage, KnownGrants(TTL, clock), at_hand=AtHand(is_file=is_at_hand))
    path = await desk.add(content)
    first, *others = [await call(desk.delivery, path, extensions=OFFERS) for _ in range(3)]
    assert (first.status, first.body, first.path is not None) == (200, content, True)
    assert others == [first] * 2
    without = await call(desk.delivery, path, extensions={})
    assert (without.headers, without.body, without.path) == (first.headers, content, None)


async def test_a_file_that_went_is_a_fault_at_once_and_not_left_to_the_server(tmp_path: Path, clock: Clock) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage, KnownGrants(TTL, clock), at_hand=AtHand(is_file=is_at_hand))
    path = await desk.add(noise(SMALL + 1))
    answers = [await call(desk.delivery, path, extensions=OFFERS) for _ in range(2)]
    for answer in answers:
        assert answer.path is not None
        answer.path.unlink(missing_ok=True)
    gone = await call(desk.delivery, path, extensions=OFFERS)
    assert (gone.status, gone.headers["content-type"], gone.path) == (500, "application/problem+json", None)


async def test_an_answer_kept_that_does_not_go_out_is_recorded(desk: Desk) -> None:
    path = await desk.add(noise(1000))
    for _ in range(2):
        await call(desk.delivery, path)

    async def broken(message: Message) -> None:
        raise ConnectionResetError(message["type"])

    with recording() as recorder:
        await desk.delivery(scope_of("GET", path, {}), stays, broken)
        line = recorder.line("request_completed", "media.file.download")
    assert (line["outcome"], line["sha256"]) == ("error", path.removeprefix("/blobs/"))
    assert "response_bytes" not in line


async def test_a_range_of_a_remembered_blob_is_exact(desk: Desk) -> None:
    content = noise(1000)
    path = await desk.add(content)
    await call(desk.delivery, path)
    assert (await call(desk.delivery, path, headers={"range": "bytes=10-19"})).body == content[10:20]


async def test_the_bytes_remembered_are_bounded_and_those_asked_for_last() -> None:
    bodies = SmallBodies(most_bytes=30)
    for key in "abc":
        bodies.add(key, key.encode() * 10)
    assert bodies.get("a") == b"a" * 10
    bodies.add("d", b"d" * 10)
    assert bodies.get("b") is None
    assert [bodies.get(key) is not None for key in "acd"] == [True, True, True]


async def test_the_grants_remembered_are_bounded(desk: Desk) -> None:
    grants = KnownGrants(TTL, most=2)
    path = await desk.add(b"abc")
    content = desk.descriptors.blobs[parse_sha256(path.removeprefix("/blobs/"))][0].content
    for workspace in "abc":
        grants.add((content.sha256, workspace), Grant(content, Reuse.NEVER), [], grants.now())
    assert [grants.get((content.sha256, workspace)) is not None for workspace in "abc"] == [False, True, True]
