"""Large bodies on real sockets: in memory piece by piece, refused before they are sent, and never half of one."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from refkeep_client import EntityKey, NotFound, Refkeep, TooLarge

pytestmark = pytest.mark.anyio

MIB = 2**20
PIECES = 32


def pieces() -> Iterator[bytes]:
    for number in range(PIECES):
        yield bytes([number]) * MIB


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """The block never holds more bytes of memory than that beyond what was held before."""
    tracemalloc.start(1)
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size


async def test_no_body_is_ever_in_memory(refkeep: Refkeep, tmp_path: Path) -> None:
    with at_most(8 * MIB):
        sent = await refkeep.blobs.send(pieces)
        await refkeep.blobs.download(sent.blob.sha256, tmp_path / "large")
        attached = await refkeep.refs.put(EntityKey("document", "1").slot("file"), tmp_path / "large")
    assert sent.blob.size == PIECES * MIB
    assert attached.ref.blob == sent.blob


@pytest.mark.parametrize("rewindable", [True, False])
async def test_what_is_too_large_is_refused_though_the_connection_ends_while_it_is_sent(
    refkeep: Refkeep, rewindable: bool
) -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += MIB
            yield bytes(MIB)

    cover = EntityKey("book", "42").slot("cover")
    with pytest.raises(TooLarge) as raised:
        await refkeep.refs.put(cover, endless if rewindable else endless(), size=2**40)
    assert raised.value.max_bytes == 25 * MIB
    assert taken < 64 * MIB


@pytest.mark.parametrize("size", [PIECES * MIB + 1, 3 * MIB - 1])
async def test_content_of_another_length_than_it_was_said_to_have_is_not_kept(refkeep: Refkeep, size: int) -> None:
    with pytest.raises(ValueError, match="content"):
        await refkeep.blobs.send(pieces(), size=size)
    page = await refkeep.events.page()
    assert page.events == ()


async def test_an_iterator_that_fails_is_what_its_caller_hears_of(refkeep: Refkeep) -> None:
    def failing() -> Iterator[bytes]:
        yield b"so far"
        raise LookupError("the source is gone")

    with pytest.raises(LookupError, match="the source is gone"):
        await refkeep.blobs.send(failing)
    assert (await refkeep.events.page()).events == ()


async def test_bytes_are_sent_under_the_name_that_is_given_for_them(refkeep: Refkeep) -> None:
    name = (await refkeep.blobs.send(b"once")).blob.sha256
    await refkeep.blobs.delete(name)
    assert (await refkeep.blobs.put(iter([b"on", b"ce"]), name)).decision == "insert"
    with pytest.raises(NotFound):
        await refkeep.blobs.meta("0" * 64)


@pytest.mark.parametrize("claim", ["application/json", "multipart/form-data; boundary=x", "text/html", None])
async def test_bytes_are_bytes_whatever_they_are_said_to_be(refkeep: Refkeep, claim: str | None) -> None:
    slot = EntityKey("document", "1").slot("file")
    attached = await refkeep.refs.put(slot, b'{"sha256":"no command"}', media_type=claim)
    assert attached.ref.blob.size == 23
