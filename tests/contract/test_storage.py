"""The contract of `service.ports.storage`, sentence by sentence, for every adapter."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.domain.errors import ObjectMissing, StorageUnavailable
from tests.contract.conftest import LosableStore, Store
from tests.parts.blobs import MIB, files_under, get, key_for, keys, large, noise, put, put_large, read

pytestmark = pytest.mark.anyio

ABSENT = key_for("ab" * 32)
SOME_SIZES = [0, 1, 65_536, MIB - 1, MIB, MIB + 1, 3 * MIB + 7]


# --- staging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SOME_SIZES)
async def test_what_is_committed_comes_out_byte_for_byte(store: Store, size: int) -> None:
    content = noise(size)
    assert await get(store.storage, await put(store.storage, content)) == content


async def test_bytes_written_in_pieces_of_any_size_keep_their_order(store: Store) -> None:
    pieces = [noise(size, seed=size) for size in (1, 700_000, 0, 400_000, 2 * MIB, 3)]
    key = key_for(hashlib.sha256(b"".join(pieces)).hexdigest())
    staged = await store.storage.stage()
    for piece in pieces:
        await staged.write(piece)
    await staged.commit(key)
    assert await get(store.storage, key) == b"".join(pieces)


async def test_nothing_shows_before_commit(store: Store) -> None:
    content = noise(2 * MIB)
    key = key_for(hashlib.sha256(content).hexdigest())
    staged = await store.storage.stage()
    await staged.write(content)
    await staged.flush()
    assert await keys(store.storage) == []
    with pytest.raises(ObjectMissing):
        await store.storage.open(key)
    await staged.commit(key)
    assert await keys(store.storage) == [key]


async def test_another_process_can_read_what_was_flushed(store: Store) -> None:
    content = noise(1_500_000)
    staged = await store.storage.stage()
    await staged.write(content)
    await staged.flush()
    reader = await asyncio.create_subprocess_exec("sha256sum", staged.path, stdout=asyncio.subprocess.PIPE)
    output, _ = await reader.communicate()
    assert output.decode().split()[0] == hashlib.sha256(content).hexdigest()
    await staged.cancel()


async def test_an_empty_upload_has_a_file_too(store: Store) -> None:
    staged = await store.storage.stage()
    await staged.flush()
    assert staged.path.read_bytes() == b""
    await staged.cancel()


async def test_writing_goes_on_after_a_flush(store: Store) -> None:
    key = key_for(hashlib.sha256(b"before after").hexdigest())
    staged = await store.storage.stage()
    await staged.write(b"before ")
    await staged.flush()
    await staged.write(b"after")
    await staged.flush()
    assert staged.path.read_bytes() == b"before after"
    await staged.commit(key)
    assert await get(store.storage, key) == b"before after"


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
async def test_cancel_leaves_no_litter(store: Store, size: int) -> None:
    staged = await store.storage.stage()
    await staged.write(noise(size))
    await staged.flush()
    await staged.cancel()
    await staged.cancel()
    assert await store.contents() == set()


async def test_cancel_before_anything_was_written_leaves_no_litter(store: Store) -> None:
    staged = await store.storage.stage()
    await staged.cancel()
    assert await store.contents() == set()


async def test_commit_leaves_the_object_and_nothing_else(store: Store) -> None:
    key = await put(store.storage, noise(2 * MIB))
    assert await store.contents() == {key}


async def test_cancel_after_commit_does_nothing(store: Store) -> None:
    content = b"kept"
    key = key_for(hashlib.sha256(content).hexdigest())
    staged = await store.storage.stage()
    await staged.write(content)
    await staged.commit(key)
    await staged.cancel()
    assert await get(store.storage, key) == content


async def test_an_ended_upload_takes_no_more_bytes(store: Store) -> None:
    staged = await store.storage.stage()
    await staged.write(b"gone")
    await staged.cancel()
    await staged.write(b"more")
    with pytest.raises(StorageUnavailable):
        await staged.commit(ABSENT)
    assert await store.contents() == set()


async def test_a_cancelled_task_leaves_no_litter(store: Store) -> None:
    staged = await store.storage.stage()
    started = asyncio.Event()

    async def upload() -> None:
        try:
            for piece in large(64):
                await staged.write(piece)
                started.set()
        finally:
            await staged.cancel()

    task = asyncio.create_task(upload())
    await started.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert await store.contents() == set()


async def test_uploads_at_the_same_time_do_not_mix(store: Store) -> None:
    contents = [noise(300_000, seed) for seed in range(16)]
    stored = await asyncio.gather(*(put(store.storage, content) for content in contents))
    assert await asyncio.gather(*(get(store.storage, key) for key in stored)) == contents


async def test_equal_bytes_under_two_keys_are_two_objects(store: Store) -> None:
    one, two = await put(store.storage, b"same"), await put(store.storage, b"same")
    await store.storage.delete(one)
    assert await get(store.storage, two) == b"same"


# --- opening ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "length", "expected"),
    [
        (0, None, slice(0, None)),
        (0, 10, slice(0, 10)),
        (3, 4, slice(3, 7)),
        (99, 1, slice(99, 100)),
        (90, 10, slice(90, 100)),
        (90, 11, slice(90, 100)),
        (0, 1000, slice(0, 100)),
        (50, None, slice(50, 100)),
        (100, None, slice(0, 0)),
        (100, 5, slice(0, 0)),
        (5000, None, slice(0, 0)),
        (5000, 5, slice(0, 0)),
        (0, 0, slice(0, 0)),
        (7, 0, slice(0, 0)),
        (100, 0, slice(0, 0)),
    ],
)
async def test_a_range_is_clamped_to_the_object(store: Store, offset: int, length: int | None, expected: slice) -> None:
    content = noise(100)
    stream = await store.storage.open(await put(store.storage, content), offset, length)
    assert stream.size == len(content[expected])
    assert await read(stream) == content[expected]


@pytest.mark.parametrize(("offset", "length"), [(0, None), (0, 0), (0, 5), (3, None), (3, 5)])
async def test_every_range_of_an_empty_object_is_empty(store: Store, offset: int, length: int | None) -> None:
    stream = await store.storage.open(await put(store.storage, b""), offset, length)
    assert stream.size == 0
    assert await read(stream) == b""


async def test_a_range_across_many_chunks_is_exact(store: Store) -> None:
    content = noise(5 * MIB)
    key = await put(store.storage, content)
    assert await get(store.storage, key, 777_777, 3 * MIB + 1) == content[777_777 : 777_777 + 3 * MIB + 1]


async def test_chunks_are_neither_empty_nor_larger_than_a_mebibyte(store: Store) -> None:
    stream = await store.storage.open(await put(store.storage, noise(3 * MIB + 1)))
    sizes = [len(chunk) async for chunk in stream]
    await stream.aclose()
    assert sum(sizes) == stream.size == 3 * MIB + 1
    assert min(sizes) > 0
    assert max(sizes) <= MIB


@pytest.mark.parametrize(("offset", "length"), [(0, None), (0, 0), (5, None), (5, 5)])
async def test_a_missing_object_shows_when_it_is_opened(store: Store, offset: int, length: int | None) -> None:
    with pytest.raises(ObjectMissing) as raised:
        await store.storage.open(ABSENT, offset, length)
    assert raised.value.key == ABSENT


async def test_a_path_stands_for_the_whole_object_or_there_is_none(store: Store) -> None:
    content = noise(1000)
    stream = await store.storage.open(await put(store.storage, content))
    assert stream.path is None or stream.path.read_bytes() == content
    await stream.aclose()


@pytest.mark.parametrize(("offset", "length"), [(1, None), (0, 999), (0, 0), (1000, None)])
async def test_a_part_of_an_object_has_no_path(store: Store, offset: int, length: int | None) -> None:
    stream = await store.storage.open(await put(store.storage, noise(1000)), offset, length)
    assert stream.path is None
    await stream.aclose()


async def test_streams_closed_early_give_back_what_they_hold(store: Store) -> None:
    key = await put(store.storage, noise(4 * MIB))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(100):  # more than a pool of connections has
        stream = await store.storage.open(key)
        async for _chunk in stream:
            break
        await stream.aclose()
        await stream.aclose()
    await asyncio.sleep(0)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2


async def test_a_stream_closed_before_its_end_never_looks_complete(store: Store) -> None:
    stream = await store.storage.open(await put(store.storage, noise(3 * MIB)))
    received = 0
    with pytest.raises(StorageUnavailable):
        async for chunk in stream:
            received += len(chunk)
            await stream.aclose()
    assert received < stream.size


async def test_many_streams_of_one_object_are_independent(store: Store) -> None:
    content = noise(2 * MIB)
    key = await put(store.storage, content)
    assert await asyncio.gather(*(get(store.storage, key, start) for start in range(20))) == [
        content[start:] for start in range(20)
    ]


# --- deleting ---------------------------------------------------------------------------------------------------------


async def test_a_deleted_object_is_gone(store: Store) -> None:
    key = await put(store.storage, b"short-lived")
    await store.storage.delete(key)
    with pytest.raises(ObjectMissing):
        await store.storage.open(key)
    assert await store.contents() == set()


async def test_deleting_again_or_what_never_was_succeeds(store: Store) -> None:
    key = await put(store.storage, b"short-lived")
    await store.storage.delete(key)
    await store.storage.delete(key)
    await store.storage.delete(ABSENT)
    assert await keys(store.storage) == []


# --- listing ----------------------------------------------------------------------------------------------------------


async def test_an_empty_store_lists_nothing(store: Store) -> None:
    assert await keys(store.storage) == []


async def test_a_listing_is_complete_and_in_key_order(store: Store) -> None:
    stored = {await put(store.storage, b"%d" % number) for number in range(40)}
    assert await keys(store.storage) == sorted(stored)


async def test_a_listing_tells_size_and_time_of_every_object(store: Store) -> None:
    key = await put(store.storage, noise(12_345))
    (found,) = [stored async for stored in store.storage.list()]
    assert (found.key, found.size) == (key, 12_345)
    assert found.modified_at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - found.modified_at) < timedelta(minutes=1)


async def test_a_listing_resumes_after_any_key(store: Store) -> None:
    stored = sorted([await put(store.storage, b"%d" % number) for number in range(12)])
    for number, key in enumerate(stored):
        assert await keys(store.storage, after=key) == stored[number + 1 :]
    await store.storage.delete(stored[5])
    assert await keys(store.storage, after=stored[5]) == stored[6:]


async def test_a_listing_starts_after_any_text(store: Store) -> None:
    stored = sorted([await put(store.storage, b"%d" % number) for number in range(8)])
    for cut in (1, 2, 3, 4, 5, 6, 20, 70, 71, 100):
        for after in (stored[3][:cut], stored[3][:cut] + "~", stored[3][:cut] + "/"):
            assert await keys(store.storage, after) == [each for each in stored if each > after]
    assert await keys(store.storage, after="zz") == []


# --- sizes, errors ----------------------------------------------------------------------------------------------------


async def test_seventy_mebibytes_come_out_as_they_went_in(store: Store) -> None:
    key = await put_large(store.storage, 70)
    digest, stream = hashlib.sha256(), await store.storage.open(key)
    async for chunk in stream:
        digest.update(chunk)
    await stream.aclose()
    assert key[6:70] == digest.hexdigest()
    assert await store.contents() == {key}


async def test_a_working_store_passes_its_check(store: Store) -> None:
    await store.storage.check()


@pytest.mark.parametrize(
    "key", ["", "../../etc/passwd", "ab/cd/../../x", ABSENT.upper(), ABSENT[:-1], f"/{ABSENT}", "aa" + ABSENT[2:]]
)
async def test_what_is_no_storage_key_never_reaches_the_store(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="no storage key"):
        await store.storage.open(key)
    with pytest.raises(ValueError, match="no storage key"):
        await store.storage.delete(key)
    staged = await store.storage.stage()
    await staged.write(b"content")
    with pytest.raises(ValueError, match="no storage key"):
        await staged.commit(key)
    assert await store.contents() == set()


async def test_a_lost_store_is_an_error_and_never_an_absence(losable: LosableStore) -> None:
    storage = losable.storage
    key = await put(storage, b"precious")
    staged = await storage.stage()
    await staged.write(b"on its way")
    await losable.lose()
    for call in (storage.open(key), storage.open(ABSENT), storage.delete(key), storage.check(), keys(storage)):
        with pytest.raises(StorageUnavailable):
            await call
    with pytest.raises(StorageUnavailable):
        await staged.commit(key_for(hashlib.sha256(b"on its way").hexdigest()))
    await staged.cancel()


async def test_an_upload_to_a_lost_store_can_be_cancelled(losable: LosableStore, tmp_path: Path) -> None:
    staged = await losable.storage.stage()
    await staged.write(noise(2 * MIB))
    await losable.lose()
    await staged.cancel()
    assert files_under(tmp_path / "staging") == set()
