"""What only a store behind a network has to get right, on a real SeaweedFS behind a network that fails."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from service.adapters.s3.abilities import Abilities, find_abilities
from service.adapters.s3.client import S3Config, connect
from service.adapters.s3.upload import MAX_PARTS, PART, part_size
from service.domain.errors import ObjectMissing, StorageFull, StorageUnavailable
from tests.parts.blobs import MIB, files_under, get, key_for, keys, large, noise, put, put_large, read
from tests.parts.buckets import emptied_bucket, opened, physical_keys
from tests.parts.memory import peak_memory_reset
from tests.parts.relay import RELAYED, Fate, Relay, running_relay
from tests.parts.seaweed import Seaweed

pytestmark = pytest.mark.anyio

GIB = 1024 * MIB


@pytest.fixture
async def relay(seaweed: Seaweed) -> AsyncIterator[Relay]:
    async with running_relay((seaweed.host, seaweed.port)) as relay:
        yield relay


@pytest.fixture
async def direct(seaweed: Seaweed) -> S3Config:
    return await emptied_bucket(seaweed)


@pytest.fixture
def config(direct: S3Config, relay: Relay) -> S3Config:
    """The same bucket by way of the relay."""
    return replace(direct, endpoint_url=relay.url)


def first(count: int, wanted: Callable[[bytes], bool], fate: Fate) -> Callable[[bytes], Fate]:
    """This fate for the first `count` requests that are `wanted`."""
    left = iter(range(count))
    return lambda head: fate if wanted(head) and next(left, None) is not None else RELAYED


def is_get(head: bytes) -> bool:
    return head.startswith(b"GET /") and b"?" not in head.split(b"\r\n")[0]


def is_put_of(key: str) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"PUT ") and key.encode() in head.split(b"\r\n")[0]


# --- a failing network ------------------------------------------------------------------------------------------------


async def test_a_body_cut_short_is_taken_up_where_it_broke(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    content = noise(3 * MIB)
    async with opened(config, tmp_path) as storage:
        key = await put(storage, content)
        relay.decide = first(3, is_get, Fate(body_bytes=300_000))
        assert await get(storage, key) == content
        relay.decide = first(2, is_get, Fate(body_bytes=1))
        assert await get(storage, key, 100, MIB) == content[100 : 100 + MIB]
    ranges = [head for head in relay.heads if b"if-match" in head.lower() and b"range: bytes=" in head.lower()]
    assert len(ranges) == 5


async def test_a_body_cut_short_again_and_again_never_looks_complete(
    config: S3Config, relay: Relay, tmp_path: Path
) -> None:
    async with opened(config, tmp_path) as storage:
        key = await put(storage, noise(3 * MIB))
        relay.decide = first(1000, is_get, Fate(body_bytes=100))
        with pytest.raises(StorageUnavailable):
            await get(storage, key)


async def test_an_object_deleted_while_it_is_read_never_looks_complete_nor_absent(
    config: S3Config, relay: Relay, tmp_path: Path
) -> None:
    async with opened(config, tmp_path) as storage:
        key = await put(storage, noise(3 * MIB))
        relay.decide = first(1, is_get, Fate(body_bytes=100_000))
        stream = await storage.open(key)
        await storage.delete(key)
        with pytest.raises(StorageUnavailable):
            await read(stream)


async def test_thirty_percent_of_refusals_stop_nothing(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    dice, refused = random.Random(7), Counter[bytes]()

    def decide(head: bytes) -> Fate:
        """Luck alone would refuse one of a hundred requests at all of its attempts, once in 150 runs."""
        request = head.split(b"\r\n")[0]
        if dice.random() >= 0.3 or refused[request] == config.attempts - 2:
            return RELAYED
        refused[request] += 1
        return Fate(status=503)

    relay.decide = decide
    async with opened(config, tmp_path) as storage:
        contents = [noise(10_000, seed) for seed in range(30)]
        stored = await asyncio.gather(*(put(storage, content) for content in contents))
        assert await asyncio.gather(*(get(storage, key) for key in stored)) == contents
        assert await keys(storage) == sorted(stored)
        await asyncio.gather(*(storage.delete(key) for key in stored))
    assert await physical_keys(config) == set()


async def test_a_store_that_refuses_everything_is_given_up_in_seconds(
    config: S3Config, relay: Relay, tmp_path: Path
) -> None:
    relay.decide = lambda _: Fate(status=503)
    async with opened(replace(config, patience=S3Config(config.bucket).patience), tmp_path) as storage:
        started = time.monotonic()
        calls = (storage.open(key_for("ab" * 32)), put(storage, b"content"), storage.check(), keys(storage))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * len(outcomes)
        assert time.monotonic() - started < 6


async def test_a_silent_store_is_given_up_in_time(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    relay.decide = lambda _: Fate(silent=True)
    async with opened(replace(config, patience=0.3), tmp_path) as storage:
        started = time.monotonic()
        calls = (storage.open(key_for("ab" * 32)), put(storage, b"content"), storage.check(), keys(storage))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * len(outcomes)
        assert time.monotonic() - started < 2
    assert files_under(tmp_path) == set()


@pytest.mark.parametrize("mebibytes", [1, 65])
async def test_an_upload_whose_answer_got_lost_is_found_to_have_landed(
    config: S3Config, relay: Relay, tmp_path: Path, mebibytes: int
) -> None:
    def is_last_step(head: bytes) -> bool:
        line = head.split(b"\r\n")[0]
        return b"partNumber" not in line and (
            (line.startswith(b"PUT /refkeep-tests/") and b"/probe/" not in line) or b"uploadId" in line
        )

    relay.decide = first(1, is_last_step, Fate(body_bytes=0))
    async with opened(config, tmp_path) as storage:
        key = await put_large(storage, mebibytes)
        assert hashlib.sha256(await get(storage, key)).hexdigest() == key[6:70]
    assert await physical_keys(config) == {key}


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"bucket": "no-such-bucket"}, {"secret_access_key": "wrong"}], ids=str)
async def test_a_refusal_is_no_absence(direct: S3Config, tmp_path: Path, change: dict[str, str]) -> None:
    async with opened(direct, tmp_path) as storage:
        key = await put(storage, b"content")
    async with opened(replace(direct, **change), tmp_path) as storage:  # type: ignore[arg-type]
        calls = (storage.open(key), storage.delete(key), storage.check(), keys(storage), put(storage, b"content"))
        for call in calls:
            with pytest.raises(StorageUnavailable):
                await call
    assert await physical_keys(direct) == {key}


@pytest.mark.parametrize("status", [403, 404, 500, 502])
async def test_an_answer_that_a_proxy_may_have_given_is_no_absence(
    config: S3Config, relay: Relay, tmp_path: Path, status: int
) -> None:
    relay.decide = lambda _: Fate(status=status)
    async with opened(replace(config, attempts=2), tmp_path) as storage:
        with pytest.raises(StorageUnavailable):
            await storage.open(key_for("ab" * 32))


async def test_a_store_without_room_is_storage_full(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    async with opened(config, tmp_path) as storage:
        await put(storage, b"content")
        relay.decide = lambda head: Fate(status=507) if head.startswith(b"PUT") else RELAYED
        with pytest.raises(StorageFull):
            await put(storage, b"more content")


async def test_a_bucket_is_never_made_by_itself_but_on_demand(seaweed: Seaweed, tmp_path: Path) -> None:
    config = replace(await emptied_bucket(seaweed), bucket="refkeep-tests-fresh")
    async with opened(config, tmp_path) as storage:
        with pytest.raises(StorageUnavailable):
            await put(storage, b"content")
        with pytest.raises(StorageUnavailable):
            await storage.check()
        await storage.ensure_bucket()
        await storage.ensure_bucket()
        await storage.check()


# --- uploads in parts -------------------------------------------------------------------------------------------------


async def test_a_failed_upload_in_parts_leaves_nothing(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    async with opened(config, tmp_path) as storage:
        relay.decide = lambda head: Fate(status=403) if b"partNumber=2" in head else RELAYED
        with pytest.raises(StorageUnavailable):
            await put_large(storage, 65)
    assert any(b"partNumber=1" in head for head in relay.heads)
    assert await physical_keys(config) == set()
    assert files_under(tmp_path) == set()


async def test_a_cancelled_upload_in_parts_leaves_nothing(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    begun = asyncio.Event()

    def decide(head: bytes) -> Fate:
        if b"partNumber=2" not in head:
            return RELAYED
        begun.set()
        return Fate(silent=True)

    relay.decide = decide
    async with opened(config, tmp_path) as storage:
        upload = asyncio.create_task(put_large(storage, 65))
        await begun.wait()
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
    assert await physical_keys(config) == set()
    assert files_under(tmp_path) == set()


async def test_a_large_object_passes_through_little_memory(direct: S3Config, tmp_path: Path) -> None:
    async with opened(direct, tmp_path) as storage:
        await get(storage, await put(storage, b"warm"))
        with peak_memory_reset() as growth:
            key = await put_large(storage, 130)
            async for _chunk in (stream := await storage.open(key)):
                pass
            await stream.aclose()
        assert growth() < 32 * MIB


@pytest.mark.parametrize("size", [PART + 1, 5 * GIB, 10_000 * PART, 10_000 * PART + 1, 5_000 * GIB])
def test_parts_are_at_most_ten_thousand(size: int) -> None:
    step = part_size(size)
    assert step >= PART
    assert step % MIB == 0
    assert -(-size // step) <= MAX_PARTS


# --- what the store honours -------------------------------------------------------------------------------------------


async def abilities_of(config: S3Config) -> Abilities:
    async with connect(config) as client:
        return await find_abilities(client, config)


async def test_what_the_store_honours_is_found_out_and_leaves_nothing(direct: S3Config) -> None:
    assert await abilities_of(direct) == Abilities(checksums=True, conditional=True)
    assert await physical_keys(direct) == set()


async def test_what_is_switched_off_is_never_sent(config: S3Config, relay: Relay, tmp_path: Path) -> None:
    async with opened(replace(config, checksums=False, conditional=False), tmp_path) as storage:
        key = await put_large(storage, 65)
        assert hashlib.sha256(await get(storage, key)).hexdigest() == key[6:70]
    sent = b"".join(relay.heads).lower()
    assert b"x-amz-checksum" not in sent
    assert b"x-amz-sdk-checksum" not in sent
    assert b"if-none-match" not in sent


@pytest.mark.parametrize("status", [400, 501])
@pytest.mark.parametrize("header", [b"x-amz-checksum", b"if-none-match"])
async def test_a_store_that_refuses_a_header_gets_uploads_without_it(
    config: S3Config, relay: Relay, tmp_path: Path, header: bytes, status: int
) -> None:
    relay.decide = lambda head: Fate(status=status) if header in head.lower() else RELAYED
    found = await abilities_of(config)
    assert found == Abilities(checksums=header != b"x-amz-checksum", conditional=header != b"if-none-match")
    async with opened(config, tmp_path) as storage:
        assert await get(storage, await put(storage, b"content")) == b"content"


async def test_bytes_that_changed_on_their_way_are_refused_by_the_store(direct: S3Config, tmp_path: Path) -> None:
    async with opened(direct, tmp_path) as storage:
        staged = await storage.stage()
        await staged.write(b"content, damaged in the spool")
        with pytest.raises(StorageUnavailable):
            await staged.commit(key_for(hashlib.sha256(b"content").hexdigest()))
    assert await physical_keys(direct) == set()


async def test_a_taken_key_is_never_overwritten(direct: S3Config, tmp_path: Path) -> None:
    async with opened(replace(direct, checksums=False), tmp_path) as storage:
        key = await put(storage, b"the first")
        staged = await storage.stage()
        await staged.write(b"another")
        with pytest.raises(StorageUnavailable):
            await staged.commit(key)
        assert await get(storage, key) == b"the first"


async def test_first_uploads_at_the_same_time_ask_the_store_once(
    config: S3Config, relay: Relay, tmp_path: Path
) -> None:
    async with opened(config, tmp_path) as storage:
        await asyncio.gather(*(put(storage, noise(100, seed)) for seed in range(20)))
    assert len({head.split()[1] for head in relay.heads if b"/probe/" in head}) == 1


async def test_a_store_that_was_down_at_the_first_upload_is_asked_again(
    config: S3Config, relay: Relay, tmp_path: Path
) -> None:
    async with opened(replace(config, attempts=1), tmp_path) as storage:
        relay.decide = lambda _: Fate(status=503)
        with pytest.raises(StorageUnavailable):
            await put(storage, b"content")
        relay.decide = lambda _: RELAYED
        assert await get(storage, await put(storage, b"content")) == b"content"


# --- listing, connections, secrets ------------------------------------------------------------------------------------


async def test_what_is_no_object_is_not_listed(direct: S3Config, tmp_path: Path) -> None:
    async with connect(direct) as client:
        for foreign in ("README", "00/note", "probe/left", "ab/cd/" + "ef" * 32):
            await client.put_object(Bucket=direct.bucket, Key=foreign, Body=b"")
    async with opened(direct, tmp_path) as storage:
        key = await put(storage, b"content")
        assert await keys(storage) == [key]


async def test_a_listing_of_many_pages_is_complete_and_in_order(direct: S3Config, tmp_path: Path) -> None:
    numbers = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(1020)]
    stored = [key_for(number) for number in numbers]
    async with connect(direct) as client:
        for start in range(0, len(stored), 50):
            await asyncio.gather(
                *(client.put_object(Bucket=direct.bucket, Key=key, Body=b"") for key in stored[start : start + 50])
            )
    async with opened(direct, tmp_path) as storage:
        assert await keys(storage) == sorted(stored)
        assert await keys(storage, after=sorted(stored)[1010]) == sorted(stored)[1011:]


async def test_streams_closed_early_do_not_use_up_the_connections(direct: S3Config, tmp_path: Path) -> None:
    async with opened(replace(direct, connections=2), tmp_path) as storage:
        key = await put(storage, noise(4 * MIB))
        for _ in range(6):
            stream = await storage.open(key)
            async for _chunk in stream:
                break
            await stream.aclose()
        await storage.delete(key)


async def test_a_stream_read_to_its_end_gives_its_connection_back(direct: S3Config, tmp_path: Path) -> None:
    async with opened(replace(direct, connections=1), tmp_path) as storage:
        key = await put(storage, noise(MIB))
        for _ in range(3):
            async for _chunk in await storage.open(key):
                pass
        with pytest.raises(ObjectMissing):
            await storage.open(key_for("ab" * 32))


async def test_the_spool_of_a_killed_process_is_swept_up(direct: S3Config, tmp_path: Path) -> None:
    (tmp_path / "abandoned").write_bytes(next(large(1)))
    async with opened(direct, tmp_path) as storage:
        assert await storage.sweep_abandoned() == 0
        assert await storage.sweep_abandoned(older_than=0) == 1
    assert files_under(tmp_path) == set()


async def test_the_probes_of_a_killed_process_are_swept_up_by_whoever_has_made_its_own(
    direct: S3Config, tmp_path: Path
) -> None:
    probe, others = f"probe/{'0a' * 16}", {"probe/left", f"probe/{'0b' * 16}"}
    async with connect(direct) as client, opened(direct, tmp_path) as storage:
        for name in (probe, "probe/left"):
            await client.put_object(Bucket=direct.bucket, Key=name, Body=b"pro")
        await client.put_object(Bucket=direct.bucket, Key=f"probe/{'0b' * 16}", Body=b"somebody else's")
        assert await storage.sweep_abandoned(older_than=0) == 0, (
            "nothing is asked of a store that may still be starting"
        )
        key = await put(storage, b"content")
        assert await storage.sweep_abandoned() == 0, "it may still be tried out"
        assert await storage.sweep_abandoned(older_than=0) == 1
    assert await physical_keys(direct) == {key, *others}


def test_a_configuration_shows_no_secret() -> None:
    assert "hush" not in repr(S3Config("bucket", secret_access_key="hush"))
