"""A disk that is full, for real: 4 MiB of memory that only the service sees as the folder of its blobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.parts.blobs import files_under
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.rooms import Room, under_mount
from tests.parts.service import Refkeep, Yard

SIZE = "4m"
MIB = 1024 * 1024
LONGEST_S = 1.0


@dataclass(frozen=True)
class Cramped:
    """A service, its disk, and what it has kept there."""

    service: Refkeep
    caller: Caller
    room: Room
    content: bytes
    picture: str

    def left(self) -> tuple[set[str], int]:
        """Files of blobs and uploads, and rows of objects."""
        files = {name for name in files_under(self.room.seen) if name != "filler"}
        return files, int(self.service.sql("SELECT count(*) FROM objects")[0]["count"])

    def read(self) -> None:
        """Whole, in part, and as a picture of a book."""
        name = sha256_of(self.content)
        assert self.caller.http.get(f"/blobs/{name}").content == self.content
        part = self.caller.http.get(f"/blobs/{name}", headers={"range": "bytes=1000-1999"})
        assert (part.status_code, part.content) == (206, self.content[1000:2000])
        assert sha256_of(self.caller.http.get(f"/blobs/{self.picture}").content) == self.picture


@pytest.fixture(scope="module")
def cramped(yard: Yard) -> Iterator[Cramped]:
    data, content, picture = yard.folder / "cramped", fresh_text(MIB), fresh_jpeg()
    folder = data / "blobs"
    with yard.running(data_dir=data, under=under_mount(folder, SIZE)) as service:
        caller = service.caller("read", "write")
        caller.upload(content)
        assert caller.put("book/42/cover/0", picture).status_code == 201
        yield Cramped(service, caller, Room(service.process.pid, folder), content, sha256_of(picture))


def refused(send: httpx.Response, began: float) -> None:
    assert time.monotonic() - began < LONGEST_S
    problem(send, 507, "storage-full")
    assert int(send.headers["retry-after"]) > 0


def test_what_does_not_fit_is_refused_within_a_second_and_leaves_the_room_to_others(cramped: Cramped) -> None:
    before, large, small = cramped.left(), fresh_text(8 * MIB), fresh_text(MIB)
    began = time.monotonic()
    refused(cramped.caller.http.put(f"/blobs/{sha256_of(large)}", content=large), began)
    assert cramped.left() == before
    cramped.caller.upload(small)
    assert cramped.caller.http.get(f"/blobs/{sha256_of(small)}").content == small


def test_a_full_disk_refuses_writes_within_a_second_serves_reads_and_recovers_by_itself(cramped: Cramped) -> None:
    cramped.read()
    before, caller = cramped.left(), cramped.caller
    cramped.room.fill()
    began = time.monotonic()
    refused(caller.http.post("/blobs", content=fresh_text(10_000)), began)
    began = time.monotonic()
    refused(caller.put("book/43/cover/0", fresh_jpeg()), began)
    began = time.monotonic()
    refused(caller.http.post("/blobs", files={"file": ("a.txt", fresh_text(10_000))}), began)
    reading = threading.Thread(target=cramped.read)
    reading.start()
    began = time.monotonic()
    refused(caller.http.post("/blobs", content=fresh_text(100_000)), began)
    reading.join()
    cramped.read()
    assert caller.put("book/42/cover/0", cramped.picture).json()["decision"] == "noop"
    assert caller.refs("book/43") == []
    assert cramped.left() == before

    cramped.room.clear()
    name = caller.upload(fresh_text(100_000))
    assert caller.put("book/43/cover/0", fresh_jpeg()).status_code == 201
    assert caller.http.get(f"/blobs/{name}").status_code == 200
