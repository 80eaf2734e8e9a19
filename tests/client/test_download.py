"""Downloads through connections that break: the file is there whole and right, or it is not there."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from refkeep_client import (
    NO_RETRY,
    Corrupted,
    EntityKey,
    NotFound,
    Refkeep,
    Retry,
    Unavailable,
    Unexpected,
    Unreachable,
)
from tests.client.canned import answer, saying
from tests.client.fates import field, in_turn
from tests.parts.fresh import fresh_jpeg
from tests.parts.relay import Fate, Relay

pytestmark = pytest.mark.anyio

BYTES = random.Random(5).randbytes(3 * 1024 * 1024 + 7)
NAME = sha256(BYTES).hexdigest()
FILE = EntityKey("document", "1").slot("file")


@pytest.fixture
async def held(refkeep: Refkeep) -> str:
    """The name of bytes that the workspace holds."""
    return (await refkeep.blobs.send(BYTES)).blob.sha256


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a download goes, in a folder that has nothing else."""
    return tmp_path / "downloaded.bin"


async def test_a_download_is_whole_and_under_its_name_alone(far: Refkeep, held: str, target: Path) -> None:
    heard: list[tuple[int, int | None]] = []
    done = await far.blobs.download(held, target, progress=lambda now, total: heard.append((now, total)))
    assert (done.sha256, done.size, done.path, done.resumed) == (NAME, len(BYTES), str(target), 0)
    assert target.read_bytes() == BYTES
    assert list(target.parent.iterdir()) == [target]
    assert (heard[0], heard[-1]) == ((0, len(BYTES)), (len(BYTES), len(BYTES)))
    assert [now for now, _ in heard] == sorted({now for now, _ in heard})


async def test_nothing_at_all_is_a_file_too(refkeep: Refkeep, target: Path) -> None:
    sent = await refkeep.blobs.send(b"")
    assert (await refkeep.blobs.download(sent.blob.sha256, str(target))).size == 0
    assert target.read_bytes() == b""


async def test_a_broken_download_goes_on_where_it_broke(far: Refkeep, relay: Relay, held: str, target: Path) -> None:
    cuts = [1_000_000, 1_000_000, 5]
    relay.decide = in_turn(*(Fate(body_bytes=cut) for cut in cuts))
    done = await far.blobs.download(held, target)
    assert target.read_bytes() == BYTES
    assert done.resumed == 3
    ranges = [field(head, "range") for head in relay.heads]
    assert ranges == [None, "bytes=1000000-", "bytes=2000000-", "bytes=2000005-"]
    assert {field(head, "if-range") for head in relay.heads[1:]} == {f'"{held}"'}


async def test_a_download_that_goes_on_does_not_run_out_of_attempts(
    far: Refkeep, relay: Relay, held: str, target: Path
) -> None:
    relay.decide = in_turn(*[Fate(body_bytes=100_000), Fate(status=503)] * 8)
    await far.blobs.download(held, target, retry=Retry(attempts=3, first_s=0.01))
    assert target.read_bytes() == BYTES
    assert len(relay.heads) == 17


async def test_a_download_that_brings_nothing_more_is_given_up_and_leaves_nothing(
    far: Refkeep, relay: Relay, held: str, target: Path
) -> None:
    fates = in_turn(Fate(body_bytes=70_000), *[Fate(status=503)] * 100)
    relay.decide = fates
    with pytest.raises(Unavailable):
        await far.blobs.download(held, target, retry=Retry(attempts=4, first_s=0.01))
    assert len(relay.heads) == 4
    assert list(target.parent.iterdir()) == []


async def test_bytes_that_changed_on_the_way_leave_nothing(far: Refkeep, relay: Relay, held: str, target: Path) -> None:
    relay.decide = lambda _: Fate(garbles_answer=True)
    with pytest.raises(Corrupted, match=f"not to {held}"):
        await far.blobs.download(held, target)
    assert list(target.parent.iterdir()) == []


async def test_bytes_that_changed_behind_a_break_leave_what_was_there(
    far: Refkeep, relay: Relay, held: str, target: Path
) -> None:
    target.write_text("what was there")
    relay.decide = in_turn(Fate(body_bytes=70_000), Fate(garbles_answer=True))
    with pytest.raises(Corrupted):
        await far.blobs.download(held, target)
    assert target.read_text() == "what was there"
    assert list(target.parent.iterdir()) == [target]


async def test_what_was_there_is_replaced_only_by_the_whole(
    far: Refkeep, relay: Relay, held: str, target: Path
) -> None:
    target.write_text("what was there")
    relay.decide = lambda _: Fate(body_bytes=70_000)
    with pytest.raises(Unreachable):
        await far.blobs.download(held, target, retry=NO_RETRY)
    assert target.read_text() == "what was there"
    relay.decide = in_turn()
    await far.blobs.download(held, target)
    assert target.read_bytes() == BYTES


async def test_a_ref_is_downloaded_and_verified_by_its_entity_tag(far: Refkeep, relay: Relay, target: Path) -> None:
    ref = (await far.refs.put(FILE, BYTES)).ref
    relay.decide = in_turn(Fate(body_bytes=500_000))
    done = await far.media.download(ref.ref_id, target)
    assert (done.sha256, done.resumed) == (NAME, 1)
    relay.decide = lambda _: Fate(garbles_answer=True)
    with pytest.raises(Corrupted):
        await far.media.download(ref.ref_id, target.with_name("other"))
    assert list(target.parent.iterdir()) == [target]


async def test_what_is_not_there_makes_no_file(refkeep: Refkeep, target: Path) -> None:
    with pytest.raises(NotFound):
        await refkeep.blobs.download("0" * 64, target)
    assert list(target.parent.iterdir()) == []


async def test_a_folder_that_is_not_there_is_found_out_before_anything_is_asked(
    far: Refkeep, relay: Relay, held: str, target: Path
) -> None:
    with pytest.raises(FileNotFoundError):
        await far.blobs.download(held, target / "below")
    assert relay.heads == []


async def test_anyone_may_download_what_is_public(refkeep: Refkeep, relay: Relay, target: Path) -> None:
    picture = fresh_jpeg()
    ref = (await refkeep.refs.put(EntityKey("book", "1").slot("cover"), picture)).ref
    async with Refkeep(relay.url) as anyone:
        await anyone.blobs.download(ref.blob.sha256, target)
    assert target.read_bytes() == picture


class Meddling(httpx.AsyncHTTPTransport):
    """Sends another `Range` than was asked for, or none."""

    def __init__(self, instead: str | None) -> None:
        super().__init__()
        self._instead = instead

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.headers.pop("range", None) is not None and self._instead is not None:
            request.headers["range"] = self._instead
        return await super().handle_async_request(request)


async def test_a_server_that_knows_no_ranges_sends_all_of_it_again(
    relay: Relay, key: str, held: str, target: Path
) -> None:
    relay.decide = in_turn(Fate(body_bytes=70_000), Fate(body_bytes=90_000))
    async with Refkeep(relay.url, key=key, transport=Meddling(None)) as client:
        done = await client.blobs.download(held, target)
    assert (done.size, done.resumed) == (len(BYTES), 2)
    assert target.read_bytes() == BYTES


async def test_another_range_than_was_asked_for_is_not_taken(relay: Relay, key: str, held: str, target: Path) -> None:
    relay.decide = in_turn(Fate(body_bytes=70_000))
    async with Refkeep(relay.url, key=key, transport=Meddling("bytes=5-")) as client:
        with pytest.raises(Unexpected, match="byte 70000"):
            await client.blobs.download(held, target)
    assert list(target.parent.iterdir()) == []


async def test_a_server_that_always_breaks_at_the_same_byte_is_given_up(target: Path) -> None:
    content = BYTES[:100_000]
    async with saying(answer(200, content[:60_000], content_length="100000")) as canned, Refkeep(canned.url) as client:
        with pytest.raises(Unreachable):
            await client.blobs.download(sha256(content).hexdigest(), target, retry=Retry(attempts=4, first_s=0.01))
    assert canned.requests == 4
    assert list(target.parent.iterdir()) == []


async def test_a_download_in_chunks_goes_on_where_it_broke(target: Path) -> None:
    content = BYTES[:100_000]
    name = sha256(content).hexdigest()
    chunk = b"ea60\r\n" + content[:60_000] + b"\r\n"
    broken = f'HTTP/1.1 200 Said\r\nTransfer-Encoding: chunked\r\nETag: "{name}"\r\n\r\n'.encode() + chunk
    rest = answer(206, content[60_000:], content_range="bytes 60000-99999/100000", etag=f'"{name}"')
    async with saying(broken, rest) as canned, Refkeep(canned.url) as client:
        done = await client.blobs.download(name, target)
    assert (done.size, done.resumed) == (100_000, 1)
    assert target.read_bytes() == content
