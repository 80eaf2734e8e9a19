"""Presets through the whole service: made once, followed by what their parents meet, and gone when they are changed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pyvips

from service.commands.collection import gc
from tests import samples
from tests.http.conftest import SIGNING_KEY
from tests.parts import pictures
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep, Yard, command_here, eventually

PRESETS = """
[policies."book/cover"]
cardinality = "single"
visibility = "public"
media_types = ["image/*", "text/plain"]
presets = ["thumb", "card"]

[policies."book/page"]
cardinality = "list"
visibility = "private"
media_types = ["image/*"]
presets = ["thumb"]

[policies."book/note"]
cardinality = "single"
visibility = "public"
media_types = ["*/*"]

[policies."book/poster"]
cardinality = "single"
visibility = "private"
media_types = ["image/*"]
presets = ["card", "thumb"]
eager = ["card"]

[presets.card]
width = 48

[presets.thumb]
"""
CLIENTS = 100
TTL_S = 1.0
AVIF = {"accept": "image/avif,image/webp,image/*,*/*;q=0.8"}


def policies(folder: Path, thumb: str = "width = 32\nheight = 32\nfit = 'cover'") -> Path:
    file = folder / f"presets-{sha256_of(thumb.encode())[:8]}.toml"
    file.write_text(PRESETS + thumb)
    return file


@dataclass(frozen=True)
class Pair:
    """Two replicas on one database and one folder."""

    replicas: tuple[Refkeep, Refkeep]
    acme: Caller
    anyone: tuple[Caller, Caller]

    def cover(self, content: bytes, entity: str = "1") -> str:
        """Show it as a public cover; its hash."""
        answer = self.acme.put(f"book/{entity}/cover/0", content)
        assert answer.status_code in {200, 201}, answer.text
        return str(answer.json()["ref"]["blob"]["sha256"])


@pytest.fixture(scope="module")
def pair(yard: Yard) -> Iterator[Pair]:
    with ExitStack() as stack:
        url = stack.enter_context(yard.postgres.database())
        settings = {"DATABASE_URL": url, "POLICIES": policies(yard.folder), "SIGNING_KEYS": SIGNING_KEY}
        first = stack.enter_context(yard.running(**settings))
        second = stack.enter_context(yard.running("serve", data_dir=first.data_dir, **settings))
        acme = first.caller("read", "write")
        yield Pair((first, second), acme, (first.bearer(None), second.bearer(None)))


def size_of(answer: httpx.Response) -> tuple[int, int]:
    image = pyvips.Image.new_from_buffer(answer.content, "")
    return image.width, image.height


def test_a_hundred_clients_on_two_replicas_have_it_made_once(pair: Pair) -> None:
    name = pair.cover(samples.photograph())
    objects = len(pair.replicas[0].sql("SELECT FROM objects"))

    async def ask() -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(timeout=60, limits=limits, verify=False) as client:
            urls = [f"{pair.replicas[number % 2].url}/blobs/{name}/thumb.webp" for number in range(CLIENTS)]
            return await asyncio.gather(*(client.get(url) for url in urls))

    answers = asyncio.run(ask())
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["etag"] for answer in answers}) == 1
    assert size_of(answers[0]) == (32, 32)
    # Every making reserves an object, also one whose bytes are not needed in the end.
    assert len(pair.replicas[0].sql("SELECT FROM objects")) == objects + 1
    made = sum(metric(replica, "rendition.make") for replica in pair.replicas)
    assert made == 1


def metric(replica: Refkeep, operation: str) -> int:
    """How often an operation ended, whatever came of it."""
    lines = httpx.get(f"{replica.url}/metrics", verify=False).text.splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith("media_operation_duration_seconds_count{") and f'operation="{operation}"' in line
    )


def test_what_each_format_is_and_how_large(pair: Pair) -> None:
    name = pair.cover(pictures.saved(pictures.card(), ".png"))
    for extension, media_type in (("avif", "image/avif"), ("webp", "image/webp"), ("png", "image/png")):
        answers = [each.http.get(f"/blobs/{name}/card.{extension}") for each in pair.anyone]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        assert answers[0].headers["content-type"] == media_type
        assert answers[0].headers["etag"] == f'"{sha256_of(answers[0].content)}"'
        assert size_of(answers[0]) == (48, 32)
    chosen = pair.anyone[0].http.get(f"/blobs/{name}/card", headers=AVIF)
    assert chosen.headers["content-location"] == f"/blobs/{name}/card.avif"
    assert chosen.headers["vary"] == "Accept"


def test_a_rendition_has_no_address_of_its_own_and_is_charged_to_nobody(pair: Pair) -> None:
    name = pair.cover(fresh_jpeg())
    used = pair.acme.http.get(f"/workspaces/{pair.acme.workspace}").json()["used"]["logical_bytes"]
    made = pair.acme.http.get(f"/blobs/{name}/thumb.webp")
    assert made.status_code == 200
    own = f"/blobs/{sha256_of(made.content)}"
    for path in (own, f"{own}/meta", f"{own}/thumb"):
        assert pair.acme.http.get(path).status_code == 404
    assert pair.acme.http.get(f"/workspaces/{pair.acme.workspace}").json()["used"]["logical_bytes"] == used


def test_presets_are_those_of_refs_that_the_caller_may_know_of(pair: Pair) -> None:
    content = fresh_jpeg()
    name = pair.acme.upload(content)
    globex = pair.replicas[0].caller("read", "write")
    globex.upload(content)
    asked = {"acme": pair.acme, "globex": globex, "anyone": pair.anyone[0]}

    def statuses(preset: str) -> dict[str, int]:
        return {who: caller.http.get(f"/blobs/{name}/{preset}").status_code for who, caller in asked.items()}

    assert statuses("thumb") == {"acme": 404, "globex": 404, "anyone": 404}, "held, but of no role"
    ref = pair.acme.post("book/7/page", name).json()["ref"]
    assert statuses("thumb") == {"acme": 200, "globex": 404, "anyone": 404}
    assert statuses("card") == {"acme": 404, "globex": 404, "anyone": 404}
    assert globex.put("book/7/note/0", name).status_code == 201
    assert statuses("thumb") == {"acme": 200, "globex": 404, "anyone": 404}, "shown to all without that preset"
    assert globex.put("book/7/cover/0", name).status_code == 201
    assert statuses("thumb") == {"acme": 200, "globex": 200, "anyone": 200}
    file = f"/media/{ref['ref_id']}/file/thumb.webp"
    assert [each.http.get(file).status_code for each in asked.values()] == [200, 404, 404]
    told = problem(pair.acme.http.get(f"/media/{ref['ref_id']}/file/card"), 404, "not-found")
    assert told["detail"] == "book/page has no preset card; it has: thumb."


def test_bytes_of_which_no_picture_can_be_made_are_told_apart(pair: Pair) -> None:
    words = pair.cover(fresh_text(), "2")
    told = problem(pair.acme.http.get(f"/blobs/{words}/thumb"), 404, "not-found")
    assert "text/plain" in told["detail"]
    bomb = pair.cover(samples.png_bomb(), "2")
    began = time.monotonic()
    told = problem(pair.acme.http.get(f"/blobs/{bomb}/thumb.webp"), 422, "dimensions-exceeded")
    assert (told["width"], told["height"]) == (50_000, 50_000)
    assert time.monotonic() - began < 5
    assert pair.acme.http.get(f"/blobs/{bomb}").content == samples.png_bomb(), "the original stays available"


def test_what_ends_for_the_parent_ends_for_its_renditions_on_every_replica(pair: Pair) -> None:
    operator = pair.replicas[0].bearer(pair.replicas[0].key(None, "operator"))
    name = pair.cover(fresh_jpeg(), "3")
    ref_id = pair.acme.refs("book/3/cover")[0]["ref_id"]
    paths = [f"/blobs/{name}/thumb.webp", f"/blobs/{name}/thumb", f"/media/{ref_id}/file/thumb.webp"]

    def seen() -> set[int]:
        return {each.http.get(path).status_code for each in pair.anyone for path in paths}

    assert seen() == {200}
    assert operator.http.put(f"/holds/{name}", json={"kind": "legal", "reason": "4711"}).status_code == 201
    ends(seen, 451)
    assert operator.http.delete(f"/holds/{name}").status_code in {200, 204}
    eventually(lambda: seen() == {200}, 5)
    assert pair.acme.http.patch(f"/media/{ref_id}", json={"visibility": "private"}).status_code == 200
    ends(seen, 404)
    assert pair.acme.http.get(paths[2]).status_code == 200


def ends(seen: Callable[[], set[int]], status: int) -> None:
    """Within the time to live."""
    time.sleep(TTL_S)  # the promise itself: what was granted may be served for so long
    eventually(lambda: seen() == {status}, 0.5)


def test_eager_presets_are_made_in_all_their_formats_and_no_others_are(pair: Pair) -> None:
    answer = pair.acme.put("book/6/poster/0", fresh_jpeg())
    assert answer.status_code == 201
    name = answer.json()["ref"]["blob"]["sha256"]
    query = "SELECT format FROM renditions r JOIN blobs b ON b.id = r.parent_id WHERE encode(b.sha256, 'hex') = $1"

    def formats() -> set[str]:
        return {row["format"] for row in pair.replicas[0].sql(query, name)}

    eventually(lambda: formats() == {"avif", "webp", "jpeg"}, 20)
    made = sum(metric(replica, "rendition.make") for replica in pair.replicas)
    assert pair.acme.http.get(f"/blobs/{name}/card", headers=AVIF).headers["content-type"] == "image/avif"
    assert sum(metric(replica, "rendition.make") for replica in pair.replicas) == made


def test_a_signed_address_shows_presets_of_its_file(pair: Pair) -> None:
    ref = pair.acme.post("book/4/page", fresh_jpeg(), filename="page one.jpg").json()["ref"]
    signed = pair.acme.http.post(f"/media/{ref['ref_id']}/sign", json={"expires_in": 300}).json()["url"]
    address = signed.replace("/file?", "/file/thumb.webp?")
    for anyone in pair.anyone:
        answer = anyone.http.get(address)
        assert answer.status_code == 200
        assert "page%20one.webp" in answer.headers["content-disposition"]
        assert anyone.http.get(address[:-1] + ("A" if address[-1] != "A" else "B")).status_code == 404


def test_a_preset_that_a_restart_changes_reaches_every_cache_and_what_it_made_is_collected(
    pair: Pair, yard: Yard
) -> None:
    first, changed = pair.replicas[0], policies(yard.folder, "width = 16\nheight = 16\nfit = 'cover'")
    settings: dict[str, Any] = {"DATABASE_URL": first.database_url, "GC_INTERVAL": "1h"}
    path = f"/blobs/{pair.cover(fresh_jpeg(), '5')}/thumb.webp"
    with yard.running("serve", data_dir=first.data_dir, POLICIES=policies(yard.folder), **settings) as replica:
        before = replica.bearer(None).http.get(path)
        assert before.headers["cache-control"] == "public, max-age=300, no-transform"
    settings["POLICIES"] = changed
    with yard.running("serve", data_dir=first.data_dir, **settings) as replica:
        anyone, known = replica.bearer(None), before.headers["etag"]
        after = anyone.http.get(path, headers={"if-none-match": known})
        assert after.status_code == 200
        assert (size_of(before), size_of(after)) == ((32, 32), (16, 16))
        assert after.headers["etag"] == f'"{sha256_of(after.content)}"' != known
        assert after.headers["cache-control"] == before.headers["cache-control"]
        assert anyone.http.get(path, headers={"if-none-match": after.headers["etag"]}).status_code == 304
        resumed = anyone.http.get(path, headers={"range": "bytes=9-", "if-range": known})
        assert (resumed.status_code, resumed.content) == (200, after.content), (
            "no half of the one and half of the other"
        )
        tags = [set(each.headers["cache-tag"].split(",")) for each in (before, after)]
        assert tags[0] - tags[1] == {f"blob-{sha256_of(before.content)}"}
        assert "preset-thumb" in tags[0] & tags[1]
        old = f"SELECT FROM objects WHERE encode(sha256, 'hex') = '{sha256_of(before.content)}'"

        def collects(*arguments: str) -> Any:
            done = command_here(gc, *arguments, "--json", DATA_DIR=first.data_dir, QUARANTINE="1s", **settings)
            assert done.status == 0, done.stderr
            return json.loads(done.stdout[done.stdout.index("{\n") :])  # what is logged stands before it

        eventually(lambda: collects("plan")["drop"]["count"] > 0, 20)
        assert collects("status")["stale"] > 0
        eventually(lambda: collects("run") and replica.sql(old) == [], 20)
        assert collects("plan")["drop"]["count"] == 0
        again = anyone.http.get(path)
        assert (again.status_code, again.content) == (200, after.content)
