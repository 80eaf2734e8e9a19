from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.adapters.memory.storage import MemoryStorage
from service.adapters.observed import ObservedStorage
from service.domain.errors import ObjectMissing
from service.observability import observe
from tests.parts.blobs import key_for
from tests.telemetry_recorder import Recorder, recording

pytestmark = pytest.mark.anyio

CONTENT = bytes(range(256)) * 10_000
KEY = key_for(hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as found:
        yield found


@pytest.fixture
async def storage(tmp_path: Path) -> ObservedStorage:
    store = MemoryStorage(tmp_path)
    await store.aopen()
    return ObservedStorage(store)


async def put(storage: ObservedStorage) -> None:
    staged = await storage.stage()
    await staged.write(CONTENT)
    await staged.flush()
    await staged.commit(KEY)


async def test_a_stored_object_is_on_record_with_its_size(recorder: Recorder, storage: ObservedStorage) -> None:
    await put(storage)
    line = recorder.line("storage_completed", "media.storage.put")
    assert (line["backend"], line["bytes"], line["outcome"]) == ("memory", len(CONTENT), "success")
    labels = (("backend", "memory"), ("operation", "media.storage.put"))
    assert recorder.histogram("media.storage.duration")[labels][0] == 1


async def test_the_record_of_a_download_lasts_until_its_last_byte(recorder: Recorder, storage: ObservedStorage) -> None:
    await put(storage)
    stream = await storage.open(KEY, 10, 2_000_000)
    assert stream.size == 2_000_000
    assert "media.storage.open" not in recorder.spans
    received = b"".join([chunk async for chunk in stream])
    await stream.aclose()
    await stream.aclose()
    assert received == CONTENT[10:2_000_010]
    line = recorder.line("storage_completed", "media.storage.open")
    assert (line["bytes"], line["outcome"]) == (len(received), "success")
    assert line["storage_duration_ms"] <= line["duration_ms"]


async def test_a_download_left_early_is_told_so(recorder: Recorder, storage: ObservedStorage) -> None:
    await put(storage)
    stream = await storage.open(KEY)
    first = await anext(aiter(stream))
    await stream.aclose()
    line = recorder.line("storage_completed", "media.storage.open")
    assert (line["bytes"], line["outcome"]) == (len(first), "client_aborted")


async def test_a_missing_object_is_an_error_on_record(recorder: Recorder, storage: ObservedStorage) -> None:
    with pytest.raises(ObjectMissing):
        await storage.open(KEY)
    line = recorder.line("storage_completed", "media.storage.open")
    assert (line["outcome"], line["error_type"]) == ("error", "blob_missing")
    assert [dict(labels)["error_type"] for labels in recorder.histogram("media.storage.duration")] == ["blob_missing"]


async def test_a_store_that_ends_early_is_an_error_on_record(recorder: Recorder, storage: ObservedStorage) -> None:
    await put(storage)
    stream = await storage.open(KEY)
    chunks = aiter(stream)
    await anext(chunks)
    await stream._stream.aclose()  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="closed before its end"):
        await anext(chunks)
    assert recorder.line("storage_completed", "media.storage.open")["error_type"] == "storage_unavailable"


async def test_what_a_call_waits_for_the_store_counts_as_its_storage_time(
    recorder: Recorder, storage: ObservedStorage
) -> None:
    with observe("media.file.upload", layer="usecase") as upload:
        await put(storage)
        upload.finish()
    line = recorder.line("usecase_completed", "media.file.upload")
    put_line = recorder.line("storage_completed", "media.storage.put")
    assert put_line["storage_duration_ms"] <= line["storage_ms"] <= line["duration_ms"]


async def test_a_deleted_object_is_on_record_and_gone(recorder: Recorder, storage: ObservedStorage) -> None:
    await put(storage)
    assert [found.key async for found in storage.list()] == [KEY]
    await storage.delete(KEY)
    assert [found.key async for found in storage.list()] == []
    assert recorder.line("storage_completed", "media.storage.delete")["outcome"] == "success"
    await storage.check()
