"""Contents of every kind become the same body; those that change on the way become none."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from refkeep_client.bodies import Body, body_of, named_body
from refkeep_client.content import PIECE_BYTES, Content, source_of

pytestmark = pytest.mark.anyio

BYTES = bytes(range(256)) * 1024 * 3 + b"the rest"


def split() -> Iterator[bytes]:
    for start in range(0, len(BYTES), 100_000):
        yield BYTES[start : start + 100_000]


async def split_async() -> AsyncIterator[bytes]:
    for piece in split():
        yield piece


def file_of(folder: Path) -> Path:
    path = folder / "file"
    path.write_bytes(BYTES)
    return path


class Pipe(io.RawIOBase):
    """A file that cannot seek."""

    def __init__(self) -> None:
        self._rest = io.BytesIO(BYTES)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)


KINDS: dict[str, tuple[Callable[[Path], Any], bool, bool]] = {
    "bytes": (lambda _: BYTES, True, True),
    "bytearray": (lambda _: bytearray(BYTES), True, True),
    "memoryview": (lambda _: memoryview(BYTES), True, True),
    "path": (file_of, True, True),
    "open file": (lambda folder: file_of(folder).open("rb"), True, True),
    "memory file": (lambda _: io.BytesIO(BYTES), True, True),
    "list": (lambda _: list(split()), True, True),
    "function": (lambda _: split, False, True),
    "async function": (lambda _: split_async, False, True),
    "iterator": (lambda _: split(), False, False),
    "async iterator": (lambda _: split_async(), False, False),
    "pipe": (lambda _: Pipe(), False, False),
}


async def drain(body: Body) -> bytes:
    return b"".join([piece async for piece in body.pieces()])


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_content_is_sent_whole(kind: str, tmp_path: Path) -> None:
    make, tells_size, rewindable = KINDS[kind]
    content = make(tmp_path)
    try:
        body = body_of(content, {})
        assert await drain(body) == BYTES
        assert body.found == sha256(BYTES).hexdigest()
        assert (body.source.size, body.repeatable) == (len(BYTES) if tells_size else None, rewindable)
        if rewindable:
            assert await drain(body) == BYTES
    finally:
        if isinstance(content, io.IOBase):
            content.close()


async def test_no_piece_of_a_file_is_large(tmp_path: Path) -> None:
    body = body_of(file_of(tmp_path), {})
    assert max([len(piece) async for piece in body.pieces()]) <= PIECE_BYTES


async def test_a_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(BYTES)
    file.seek(1000)
    body = body_of(file, {})
    assert body.source.size == len(BYTES) - 1000
    assert [await drain(body), await drain(body)] == [BYTES[1000:]] * 2


async def test_progress_tells_what_is_through_and_starts_over_with_the_body() -> None:
    heard: list[tuple[int, int | None]] = []
    body = body_of([b"ab", b"", b"cde"], {"progress": lambda sent, total: heard.append((sent, total))})
    await drain(body)
    assert heard == [(0, 5), (2, 5), (5, 5)]
    await drain(body)
    assert heard[3:] == heard[:3]


async def test_an_iterator_can_be_sent_until_its_first_byte_is_taken() -> None:
    body = body_of(split(), {})
    before, pieces = body.repeatable, body.pieces()
    await anext(pieces)
    assert (before, body.repeatable) == (True, False)
    await pieces.aclose()


@pytest.mark.parametrize(("size", "words"), [(len(BYTES) + 1, "ended after"), (len(BYTES) - 1, "more than")])
async def test_a_size_that_is_wrong_is_found_out(size: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        await drain(body_of(split(), {"size": size}))


async def test_a_file_that_grows_shorter_between_attempts_is_not_sent_as_if_it_were_whole(tmp_path: Path) -> None:
    path = file_of(tmp_path)
    body = body_of(path, {})
    await drain(body)
    path.write_bytes(BYTES[:-1])
    with pytest.raises(ValueError, match="did it change"):
        await drain(body)
    assert body.found is None


async def test_a_function_that_gives_away_one_iterator_twice_is_found_out() -> None:
    once = split()
    body = body_of(lambda: once, {})
    await drain(body)
    with pytest.raises(ValueError, match=f"ended after 0 of {len(BYTES)} bytes"):
        await drain(body)


async def test_what_is_read_before_it_is_sent_has_a_name_and_a_size() -> None:
    body = await named_body(split, {})
    assert (body.named, body.source.size) == (sha256(BYTES).hexdigest(), len(BYTES))
    assert await drain(body) == BYTES


async def test_an_iterator_is_not_used_up_to_name_it() -> None:
    once = split()
    with pytest.raises(ValueError, match="only once"):
        await named_body(once, {})
    assert b"".join(once) == BYTES


@pytest.mark.parametrize("content", ["text", 7, None])
async def test_what_is_no_content_is_refused(content: Content) -> None:
    with pytest.raises(TypeError, match="no content"):
        source_of(content)


async def test_a_file_open_for_text_is_refused(tmp_path: Path) -> None:
    with file_of(tmp_path).open(encoding="latin-1") as file, pytest.raises(TypeError, match="binary mode"):
        await drain(body_of(file, {}))  # type: ignore[arg-type]
