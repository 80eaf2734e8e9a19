"""Renditions behind caches: each format for itself, gone with their parent, anew when a preset changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from refkeep_client import Refkeep
from tests.e2e.cdn.test_bytes import assert_same
from tests.parts.caller import sha256_of
from tests.parts.edges import Edge
from tests.parts.fresh import fresh_jpeg
from tests.parts.origin import POLICIES, Item, Origin
from tests.parts.pictures import opened
from tests.parts.service import eventually

ACCEPTS = {
    "image/avif": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8",
    "image/webp": "image/webp,*/*",
    "image/jpeg": "image/png,image/*;q=0.8,*/*;q=0.5",
}


@dataclass(frozen=True)
class Shown:
    """A picture, and the paths of one of its presets; the last of each two leaves the format to `Accept`."""

    item: Item

    def paths(self, preset: str = "thumb") -> list[str]:
        return [f"{path}/{preset}{end}" for path in (self.item.blob, self.item.file) for end in (".webp", "")]


@pytest.fixture
def shown(origin: Origin) -> Shown:
    return Shown(origin.publish(fresh_jpeg()))


@pytest.fixture
def replica(origin: Origin) -> Iterator[httpx.Client]:
    """Somebody who asks a replica."""
    with httpx.Client(base_url=origin.replicas[1].url, timeout=60) as client:
        yield client


def test_each_format_is_kept_for_itself(visitor: httpx.Client, origin: Origin, shown: Shown) -> None:
    for path in (f"{shown.item.blob}/thumb", f"{shown.item.file}/thumb"):
        cold = {kind: visitor.get(path, headers={"accept": accept}) for kind, accept in ACCEPTS.items()}
        before = len(origin.asked_for(shown.item))
        for kind, accept in ACCEPTS.items():
            warm = visitor.get(path, headers={"accept": accept})
            assert (warm.status_code, warm.headers["content-type"]) == (200, kind)
            assert warm.headers["cache-status"].endswith("hit")
            assert warm.headers["vary"] == "Accept"
            assert warm.headers["etag"] == f'"{sha256_of(warm.content)}"'
            assert warm.headers["content-location"] == f"{shown.item.blob}/thumb.{kind[6:].replace('jpeg', 'jpg')}"
            assert warm.content == cold[kind].content
        assert len(origin.asked_for(shown.item)) == before
        assert len({answer.content for answer in cold.values()}) == 3


def test_parts_and_conditions_are_those_of_a_replica(
    visitor: httpx.Client, replica: httpx.Client, shown: Shown
) -> None:
    for path in shown.paths():
        for accept in ACCEPTS.values():
            asked = {"accept": accept}
            whole = replica.get(path, headers=asked)
            tag, size = whole.headers["etag"], len(whole.content)
            for more in (
                {},
                {"range": "bytes=0-0"},
                {"range": f"bytes={size // 2}-"},
                {"range": "bytes=-7"},
                {"if-none-match": tag},
                {"if-none-match": f'"{shown.item.sha256}"'},
                {"if-match": tag},
                {"if-match": '"0"'},
                {"if-range": tag, "range": "bytes=1-2"},
                {"if-range": '"0"', "range": "bytes=1-2"},
                {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"},
            ):
                assert_same(visitor, replica, path, asked | more)
            part = visitor.get(path, headers={**asked, "range": "bytes=3-9"})
            assert (part.status_code, part.content) == (206, whole.content[3:10])


def test_after_a_purge_no_rendition_of_what_is_on_hold_is_served(
    origin: Origin, edge: Edge, visitor: httpx.Client, shown: Shown
) -> None:
    paths = shown.paths()
    assert {visitor.get(path, headers={"accept": each}).status_code for path in paths for each in ACCEPTS.values()} == {
        200
    }
    origin.hold(shown.item)
    for path in paths:
        origin.await_everywhere(path, 451)
    edge.purge(shown.item.blob, shown.item.file, tag=f"blob-{shown.item.sha256}")
    for method in ("GET", "HEAD"):
        answers = [
            visitor.request(method, path, headers={"accept": each}) for path in paths for each in ACCEPTS.values()
        ]
        assert {answer.status_code for answer in answers} == {451}
    origin.release(shown.item)
    eventually(lambda: {visitor.get(path).status_code for path in paths} == {200}, 20)


def test_a_changed_preset_is_seen_at_once_after_a_purge_by_its_name(
    origin: Origin, edge: Edge, visitor: httpx.Client, shown: Shown
) -> None:
    paths = shown.paths("card")
    before = {path: visitor.get(path) for path in paths}
    assert {opened(answer.content).width for answer in before.values()} == {48}
    with changed(origin, "width = 48", "width = 24"):
        eventually(lambda: {visitor.get("/readyz").status_code for _ in range(4)} == {200}, 30)
        edge.purge(*paths, tag="preset-card")
        for path in paths:
            after = visitor.get(path, headers={"if-none-match": before[path].headers["etag"]})
            assert (after.status_code, opened(after.content).width) == (200, 24)
            assert after.headers["etag"] != before[path].headers["etag"]


@contextmanager
def changed(origin: Origin, old: str, new: str) -> Iterator[None]:
    """Both replicas with other policies, one after the other, as in a rollout; as before afterwards."""
    file = Path(origin.replicas[0].settings["POLICIES"])
    try:
        file.write_text(POLICIES.replace(old, new))
        restart(origin)
        yield
    finally:
        file.write_text(POLICIES)
        restart(origin)


def restart(origin: Origin) -> None:
    """One replica answers while the other one does not."""
    for replica in origin.replicas:
        assert replica.running is not None
        replica.running.terminate()  # its callers stay: they are the origin's
        replica.running.process.wait(60)
        replica.start()


@pytest.mark.anyio
async def test_the_python_client_fetches_renditions_through_caches(
    edge: Edge, origin: Origin, shown: Shown, tmp_path: Path
) -> None:
    expected = await asyncio.to_thread(httpx.get, f"{origin.replicas[1].url}{shown.item.blob}/thumb.webp")
    for url in (edge.url, origin.replicas[0].url):
        async with Refkeep(url) as refkeep:
            await refkeep.blobs.download(shown.item.sha256, tmp_path / "by-hash", preset="thumb.webp")
            await refkeep.media.download(shown.item.ref_id, tmp_path / "by-ref", preset="thumb")
        by_hash, by_ref = ((tmp_path / name).read_bytes() for name in ("by-hash", "by-ref"))
        assert by_hash == expected.content
        assert (opened(by_hash).width, opened(by_ref).width) == (32, 32)
