"""Delivery as an ASGI application, on real stores: what clients and servers see of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry import metrics, trace

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.memory.storage import MemoryStorage
from service.delivery.asgi import Message
from service.delivery.bodies import SMALL
from service.delivery.endpoint import Delivery
from service.delivery.headers import CrossOrigin
from service.delivery.sender import PIECE
from service.domain.blob import parse_sha256
from service.domain.errors import StorageUnavailable
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.observability import connect, outlets
from service.ports.descriptors import PurgedMedia, ServableBytes
from service.ports.storage import ByteStream
from tests.parts.desk import (
    BAD,
    FILE,
    MIB,
    OURS,
    REF_ID,
    Desk,
    Response,
    call,
    desk_on,
    noise,
    scope_of,
    stays,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "filesystem"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    storage = MemoryStorage(tmp_path) if request.param == "memory" else FilesystemStorage(tmp_path)
    await storage.aopen()
    return desk_on(storage)


class Lines:
    """A log that keeps the lines at the handler's end."""

    def __init__(self) -> None:
        self.ended: list[dict[str, object]] = []

    def log(self, level: int, event: str, **fields: object) -> None:  # noqa: ARG002 - structlog's signature
        if event == "request_completed":
            self.ended.append(fields)


@pytest.fixture(autouse=True)
def lines() -> Iterator[Lines]:
    before = outlets()
    kept = Lines()
    connect(trace.get_tracer("test"), metrics.get_meter("test"), kept)
    yield kept
    connect(before.tracer, metrics.get_meter("refkeep"), before.log)


# --- bytes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * MIB + 7])
@pytest.mark.parametrize("extensions", [{}, {"http.response.pathsend": {}}])
async def test_a_blob_comes_out_byte_exact(desk: Desk, size: int, extensions: dict[str, object], lines: Lines) -> None:
    content = noise(size)
    response = await call(desk.delivery, await desk.add(content), extensions=extensions)
    assert (response.status, response.complete) == (200, True)
    assert response.body == content
    assert response.headers["content-length"] == str(size)
    assert [(line["outcome"], line["response_bytes"]) for line in lines.ended] == [("success", size)]


async def test_a_server_that_sends_files_gets_whole_ones_only(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage)
    path = await desk.add(noise(MIB))
    offers: dict[str, object] = {"http.response.pathsend": {}}
    assert (await call(desk.delivery, path, extensions=offers)).path is not None
    assert (await call(desk.delivery, path, {"range": "bytes=1-"}, extensions=offers)).path is None
    assert (await call(desk.delivery, path)).path is None
    assert (await call(desk.delivery, path, extensions=None)).path is None


@pytest.mark.parametrize("size", [0, 3])
async def test_head_says_what_get_says_and_needs_no_store(desk: Desk, size: int) -> None:
    path = await desk.add(noise(size))
    got = await call(desk.delivery, path)
    await desk.storage.delete(desk.descriptors.blobs[parse_sha256(path[7:])][0].content.storage_key)
    head = await call(desk.delivery, path, {"range": "bytes=0-0"}, "HEAD")
    assert (head.status, head.body, head.complete) == (200, b"", True)
    assert head.headers == got.headers


async def test_a_match_is_a_304_and_needs_no_store(desk: Desk) -> None:
    content = ServableBytes(parse_sha256("ab" * 32), 3, "image/png", "ab/ab/never-stored")
    path = desk.describe(content)
    for method in ("GET", "HEAD"):
        response = await call(desk.delivery, path, {"if-none-match": f'W/"{content.sha256}"'}, method)
        assert (response.status, response.body, response.complete) == (304, b"", True)
        assert response.headers["etag"] == f'"{content.sha256}"'
        assert "content-length" not in response.headers


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=10-299999", 10, 300_000), ("bytes=-5", 399_995, 400_000), ("bytes=0-", 0, 400_000)],
)
async def test_one_range_comes_out_byte_exact(desk: Desk, asked: str, start: int, end: int, lines: Lines) -> None:
    content = noise(400_000)
    path = await desk.add(content)
    response = await call(desk.delivery, path, {"range": asked})
    assert (response.status, response.complete) == (206, True)
    assert response.body == content[start:end]
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/400000"
    assert response.headers["content-length"] == str(end - start)
    assert response.headers["etag"] == f'"{path[7:]}"'
    assert lines.ended[0]["range"] == f"{start}-{end - 1}"


async def test_several_ranges_come_as_parts_in_the_asked_order(desk: Desk) -> None:
    content = noise(2 * MIB)
    response = await call(desk.delivery, await desk.add(content), {"range": "bytes=-3,5-6,100000-1500000,6-9"})
    assert (response.status, response.complete) == (206, True)
    assert response.headers["content-length"] == str(len(response.body))
    assert "content-range" not in response.headers
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + response.body).get_payload()
    assert isinstance(parts, list)
    size = len(content)
    assert [(part["Content-Type"], part["Content-Range"]) for part in parts] == [  # type: ignore[index]
        ("image/png", f"bytes {size - 3}-{size - 1}/{size}"),
        ("image/png", f"bytes 5-9/{size}"),
        ("image/png", f"bytes 100000-1500000/{size}"),
    ]
    boundary = response.headers["content-type"].rpartition("=")[2].encode()
    bodies = [
        part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in response.body.split(b"--" + boundary)[1:-1]
    ]
    assert bodies == [content[-3:], content[5:10], content[100_000:1_500_001]]


@pytest.mark.parametrize(
    ("condition", "status"),
    [("{etag}", 206), ("W/{etag}", 200), ('"other"', 200), ("Fri, 02 Jan 2026 03:04:05 GMT", 200)],
)
async def test_a_range_of_other_bytes_is_answered_by_the_whole(desk: Desk, condition: str, status: int) -> None:
    path = await desk.add(b"0123456789")
    if_range = condition.format(etag=f'"{path[7:]}"')
    assert (await call(desk.delivery, path, {"range": "bytes=2-3", "if-range": if_range})).status == status


async def test_an_unsatisfiable_range_is_told_the_size_and_kept_by_no_cache(desk: Desk) -> None:
    response = await call(desk.delivery, await desk.add(b"0123456789"), {"range": "bytes=10-"})
    assert (response.status, response.headers["content-range"]) == (416, "bytes */10")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("asked", ["bytes=5-2", "bytes=x", "seconds=1-2", "bytes=" + "0-," * 2000])
async def test_a_range_that_makes_no_sense_is_ignored(desk: Desk, asked: str) -> None:
    response = await call(desk.delivery, await desk.add(b"0123456789"), {"range": asked})
    assert (response.status, response.body) == (200, b"0123456789")


async def test_preconditions_come_before_ranges(desk: Desk) -> None:
    path = await desk.add(b"0123456789")
    stale = await call(desk.delivery, path, {"if-match": '"other"', "range": "bytes=10-"})
    assert (stale.status, stale.headers["cache-control"]) == (412, "no-store")
    known = await call(desk.delivery, path, {"if-none-match": "*", "range": "bytes=10-"})
    assert known.status == 304


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_every_404_looks_the_same_whatever_is_behind_it(desk: Desk, lines: Lines) -> None:
    private = await desk.add(b"private", public=False)
    await desk.add_media(Visibility.PUBLIC, RefState.TRASHED)
    paths = [private, "/blobs/" + "0" * 64, "/blobs/" + "A" * 64, "/blobs/short", FILE, "/media/42/file"]
    answers = []
    for path in paths:
        for headers in ({}, {"authorization": "Bearer theirs"}, {"if-none-match": "*"}, {"if-match": '"x"'}):
            response = await call(desk.delivery, path, {**headers, "x-request-id": "same", "range": "bytes=99-"})
            body = response.body.replace(path.encode(), b"<path>")
            lengths = int(response.headers.pop("content-length")) - len(path)
            answers.append((response.status, response.headers, body, lengths))
    assert all(answer == answers[0] for answer in answers)
    assert (answers[0][0], answers[0][1]["cache-control"]) == (404, "no-store")
    assert {line["outcome"] for line in lines.ended} == {"not_found"}


async def test_a_private_blob_goes_to_a_holder_and_into_no_cache(desk: Desk) -> None:
    response = await call(desk.delivery, await desk.add(b"private", public=False), OURS)
    assert (response.status, response.body) == (200, b"private")
    assert response.headers["cache-control"] == "private, no-store"


async def test_a_bad_key_is_refused_even_what_anyone_may_have(desk: Desk, lines: Lines) -> None:
    response = await call(desk.delivery, await desk.add(b"public"), BAD)
    assert (response.status, response.headers["cache-control"]) == (401, "no-store")
    assert "www-authenticate" in response.headers
    assert [(line["outcome"], line["error_type"]) for line in lines.ended] == [("forbidden", "unauthorized")]


@pytest.mark.parametrize(
    ("visibility", "state", "world", "owner"),
    [
        (Visibility.PUBLIC, RefState.LIVE, 200, 200),
        (Visibility.PRIVATE, RefState.LIVE, 404, 200),
        (Visibility.PUBLIC, RefState.TRASHED, 404, 200),
        (Visibility.PRIVATE, RefState.TRASHED, 404, 200),
    ],
)
async def test_media_goes_by_its_ref(
    desk: Desk, visibility: Visibility, state: RefState, world: int, owner: int
) -> None:
    path = await desk.add_media(visibility, state)
    assert (await call(desk.delivery, path)).status == world
    assert (await call(desk.delivery, path, {"authorization": "Bearer theirs"})).status == world
    assert (await call(desk.delivery, path, OURS)).status == owner


async def test_purged_media_is_gone_for_its_workspace_and_unknown_to_the_rest(desk: Desk) -> None:
    desk.descriptors.refs[REF_ID] = (PurgedMedia(owned=False), "ours")
    assert [(await call(desk.delivery, FILE, headers)).status for headers in (OURS, {})] == [410, 404]


async def test_a_wrong_method_is_told_before_anything_else(desk: Desk) -> None:
    for method, path in (("POST", "/blobs/short"), ("PATCH", FILE), ("PUT", FILE)):
        response = await call(desk.delivery, path, BAD, method)
        assert response.status == 405
        assert {"GET", "HEAD"} < set(response.headers["allow"].split(", "))


async def test_options_answers_a_preflight_from_anyone(desk: Desk) -> None:
    response = await call(desk.delivery, "/blobs/" + "0" * 64, {"origin": "https://a.example"}, "OPTIONS")
    assert (response.status, response.body, response.complete) == (204, b"", True)
    assert response.headers["access-control-allow-origin"] == "*"
    assert "Range" in response.headers["access-control-allow-headers"]
    assert "content-length" not in response.headers


# --- headers ----------------------------------------------------------------------------------------------------------


async def test_an_immutable_answer_is_the_same_for_every_request(desk: Desk) -> None:
    path = await desk.add(b"public")
    first, second = [await call(desk.delivery, path, headers) for headers in ({"x-request-id": "one"}, OURS)]
    assert first.headers == second.headers
    assert not {"x-request-id", "server-timing", "last-modified", "vary"} & first.headers.keys()


async def test_media_carries_the_request_its_timing_and_its_name(desk: Desk) -> None:
    response = await call(desk.delivery, await desk.add_media(), {"x-request-id": "one"})
    assert response.headers["x-request-id"] == "one"
    assert [part.partition(";")[0] for part in response.headers["server-timing"].split(", ")] == [
        "db",
        "storage",
        "total",
    ]
    assert response.headers["content-disposition"] == "inline; filename=\"fur.png\"; filename*=UTF-8''f%C3%BCr.png"
    assert response.headers["content-location"] == f"/blobs/{sha256(b'abc').hexdigest()}"
    assert response.headers["last-modified"] == "Fri, 02 Jan 2026 03:04:05 GMT"


async def test_media_can_be_asked_for_by_date(desk: Desk) -> None:
    path = await desk.add_media()
    date = "Fri, 02 Jan 2026 03:04:05 GMT"
    assert (await call(desk.delivery, path, {"if-modified-since": date})).status == 304
    assert (await call(desk.delivery, path, {"range": "bytes=0-0", "if-range": date})).status == 206


async def test_named_origins_are_allowed_on_refusals_too(tmp_path: Path) -> None:
    desk = desk_on(MemoryStorage(tmp_path), cross_origin=CrossOrigin(("https://a.example",)))
    response = await call(desk.delivery, "/blobs/short", {"origin": "https://a.example"})
    assert response.headers["access-control-allow-origin"] == "https://a.example"
    assert response.headers["vary"] == "Origin"


# --- faults -----------------------------------------------------------------------------------------------------------


@dataclass
class Faulty:
    """A store whose one object yields what `chunks` does and says it is `size` bytes long; counts what was read."""

    size: int
    chunks: Callable[[], Iterator[bytes]]
    refusal: Exception | None = None
    read: int = 0
    opened: int = 0
    closed: int = 0
    backend = "faulty"
    path = None

    async def open(self, *_: object) -> ByteStream:
        if self.refusal is not None:
            raise self.refusal
        self.opened += 1
        return self

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks():
            self.read += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.closed += 1


def faulty_desk(store: Faulty, size: int, **options: Any) -> tuple[Delivery, str]:
    desk = desk_on(store, **options)  # type: ignore[arg-type] # delivery only ever opens
    return desk.delivery, desk.describe(ServableBytes(parse_sha256("cd" * 32), size, "video/mp4", "cd/cd/key"))


def zeros() -> Iterator[bytes]:
    while True:
        yield bytes(MIB)


def failing() -> Iterator[bytes]:
    yield bytes(10)
    raise StorageUnavailable("The connection to the store broke.")


def broken() -> Iterator[bytes]:
    yield bytes(10)
    raise ZeroDivisionError


BREAKS = pytest.mark.parametrize(
    ("chunks", "error_type"),
    [
        (lambda: iter([bytes(10)]), "storage_unavailable"),
        (lambda: iter([]), "storage_unavailable"),
        (failing, "storage_unavailable"),
        (broken, "internal"),
    ],
)


@BREAKS
@pytest.mark.parametrize("size", [SMALL + 1, 10 * MIB])
async def test_a_short_stream_never_looks_complete(
    chunks: Callable[[], Iterator[bytes]], size: int, error_type: str, lines: Lines
) -> None:
    store = Faulty(size, chunks)
    response = await call(*faulty_desk(store, size))
    assert (response.status, response.complete) == (200, False)
    assert response.headers["content-length"] == str(size)
    assert store.closed == store.opened == 1
    assert [(line["outcome"], line["error_type"]) for line in lines.ended] == [("error", error_type)]


@BREAKS
async def test_a_small_blob_that_cannot_be_read_is_a_problem_and_remembered_nowhere(
    chunks: Callable[[], Iterator[bytes]], error_type: str, lines: Lines
) -> None:
    store = Faulty(1000, chunks)
    delivery, path = faulty_desk(store, 1000)
    for asked in (1, 2):
        response = await call(delivery, path)
        assert (response.status, response.complete) == (503 if error_type == "storage_unavailable" else 500, True)
        assert response.headers["cache-control"] == "no-store"
        assert store.closed == store.opened == asked
    assert [(line["outcome"], line["error_type"]) for line in lines.ended] == [("error", error_type)] * 2


async def test_an_object_of_another_size_is_a_fault_and_never_half_an_answer() -> None:
    store = Faulty(999, zeros)
    response = await call(*faulty_desk(store, 1000))
    assert (response.status, response.headers["cache-control"]) == (503, "no-store")
    assert store.closed == store.opened == 1


async def test_a_missing_object_is_a_fault_of_the_service_and_no_absence(desk: Desk, lines: Lines) -> None:
    name = parse_sha256("ef" * 32)
    path = desk.describe(ServableBytes(name, 3, "image/png", f"ef/ef/{name}.{REF_ID}"))
    response = await call(desk.delivery, path)
    assert (response.status, response.headers["cache-control"]) == (500, "no-store")
    assert b'"blob-missing"' in response.body
    assert [(line["outcome"], line["error_type"]) for line in lines.ended] == [("error", "blob_missing")]


async def test_a_silent_store_is_a_503_that_says_when_to_come_back() -> None:
    response = await call(*faulty_desk(Faulty(3, zeros, StorageUnavailable("No answer.")), 3))
    assert (response.status, response.headers["cache-control"]) == (503, "no-store")
    assert "retry-after" in response.headers


async def test_a_defect_is_a_problem_too(lines: Lines) -> None:
    response = await call(*faulty_desk(Faulty(3, zeros, ZeroDivisionError("secret")), 3))
    assert (response.status, response.headers["content-type"]) == (500, "application/problem+json")
    assert b"secret" not in response.body
    assert "ZeroDivisionError" in str(lines.ended[0]["exception"])


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-400000000,500000000-"}])
async def test_an_aborted_download_of_a_gibibyte_reads_at_most_16_mebibytes(
    headers: dict[str, str], lines: Lines
) -> None:
    size = 1024 * MIB
    store = Faulty(size if not headers else 400_000_001, zeros)
    delivery, path = faulty_desk(store, size)
    response, gone = Response(), anyio.Event()

    async def receive() -> Message:
        await gone.wait()
        await anyio.sleep(0.008)  # the word of it comes from another thread
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        """Take everything at once, as servers do once the client has gone."""
        response.take({**message, "body": b""})
        if message["type"] == "http.response.body":
            gone.set()

    await delivery(scope_of("GET", path, headers), receive, send)
    assert not response.complete
    assert store.read <= 16 * MIB
    assert store.closed == store.opened == 1
    assert [(line["outcome"], line["error_type"]) for line in lines.ended] == [("client_aborted", "client_aborted")]


@pytest.mark.parametrize("size", [1000, 1024 * MIB])
async def test_a_client_that_reads_nothing_is_cut(size: int, lines: Lines) -> None:
    store = Faulty(size, lambda: iter([bytes(1000)]) if size == 1000 else zeros())
    delivery, path = faulty_desk(store, size, stall_seconds=0.02)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        await delivery(scope_of("GET", path, {}), stays, send)
    assert store.closed == store.opened == 1
    assert [(line["outcome"], line["error_type"]) for line in lines.ended] == [("client_aborted", "client_stalled")]


async def test_a_cancelled_download_closes_its_stream(lines: Lines) -> None:
    store = Faulty(1024 * MIB, zeros)
    delivery, path = faulty_desk(store, 1024 * MIB)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            task.cancel()

    with anyio.CancelScope() as task:
        await delivery(scope_of("GET", path, {}), stays, send)
    assert store.closed == store.opened == 1
    assert lines.ended[0]["outcome"] == "client_aborted"


async def test_a_part_that_cannot_be_opened_cuts_the_answer(desk: Desk) -> None:
    path = await desk.add(noise(MIB))
    content = desk.descriptors.blobs[parse_sha256(path[7:])][0].content
    response = Response()

    async def send(message: Message) -> None:
        response.take(message)
        if message["type"] == "http.response.body":
            await desk.storage.delete(content.storage_key)

    scope = scope_of("GET", path, {"range": "bytes=0-9,20-29"})
    await desk.delivery(scope, stays, send)
    assert (response.status, response.complete) == (206, False)


async def test_a_request_of_the_framework_is_refused(desk: Desk) -> None:
    with pytest.raises(LookupError):
        await call(desk.delivery, "/refs/book/42")
