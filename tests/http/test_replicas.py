"""Two replicas on one database and one store: equal answers for equal blobs, and nobody serves what another ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import httpx
import pytest

from service.adapters.s3.client import connect
from tests import samples
from tests.http.conftest import SIGNING_KEY
from tests.parts.buckets import config_for
from tests.parts.caller import Caller
from tests.parts.fresh import fresh_jpeg
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.parts.service import Refkeep, Yard

BUCKET = "refkeep-replicas"
NEXT_KEY = "2027:YW5vdGhlciBrZXkgb2YgdGhlIHRlc3Rz"
TTL_S, SLACK_S = 1.0, 0.5
OF_THE_REQUEST = {"date", "server-timing", "x-request-id", "traceparent"}
POLICIES = """
[policies."shelf/thing"]
cardinality = "list"
visibility = "public"
media_types = ["*/*"]
"""


@dataclass(frozen=True)
class Pair:
    """Two replicas, the second one with a newer key to sign with, and what both should serve alike."""

    replicas: tuple[Refkeep, Refkeep]
    clients: tuple[Caller, Caller]
    caller: Caller
    paths: dict[str, str]

    def ask(self, path: str, headers: dict[str, str], method: str = "GET") -> list[httpx.Response]:
        return [client.http.request(method, path, headers=headers) for client in self.clients]


@pytest.fixture(scope="module", params=["folder", "s3"])
def pair(request: pytest.FixtureRequest, yard: Yard) -> Iterator[Pair]:
    file = yard.folder / "replicas.toml"
    file.write_text(POLICIES)
    settings: dict[str, object] = {"POLICIES": file}
    if request.param == "s3":
        settings |= bucket_of(request.getfixturevalue("seaweed"))
    with ExitStack() as stack:
        database = stack.enter_context(yard.postgres.database())
        first = stack.enter_context(yard.running(DATABASE_URL=database, SIGNING_KEYS=SIGNING_KEY, **settings))
        shared = {"data_dir": first.data_dir} if request.param == "folder" else {}
        keys = f"{NEXT_KEY},{SIGNING_KEY}"
        second = stack.enter_context(
            yard.running("serve", DATABASE_URL=database, SIGNING_KEYS=keys, **settings, **shared)
        )
        caller = first.caller("read", "write")
        yield Pair((first, second), (first.bearer(None), second.bearer(None)), caller, served(caller))


def bucket_of(seaweed: Seaweed) -> dict[str, object]:
    async def make() -> None:
        async with connect(config_for(seaweed)) as client:
            await client.create_bucket(Bucket=BUCKET)

    asyncio.run(make())
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    return {"STORAGE": "s3", "S3_BUCKET": BUCKET, "S3_ENDPOINT_URL": seaweed.url, **keys}


def served(caller: Caller) -> dict[str, str]:
    public = caller.post("shelf/1/thing", samples.photograph(), filename="cover é.jpg").json()["ref"]
    empty = caller.post("shelf/1/thing", b"").json()["ref"]
    private = caller.post("shelf/1/thing", fresh_jpeg(), visibility="private").json()["ref"]
    signed = caller.http.post(f"/media/{private['ref_id']}/sign", json={"expires_in": 3600}).json()["url"]
    return {
        "blob": public["links"]["blob"],
        "empty blob": empty["links"]["blob"],
        "private blob": private["links"]["blob"],
        "file": public["links"]["file"],
        "empty file": empty["links"]["file"],
        "private file": private["links"]["file"],
        "signed": signed,
        "nothing": f"/blobs/{'ab' * 32}",
    }


REQUESTS: dict[str, tuple[str, dict[str, str]]] = {
    "GET": ("GET", {}),
    "HEAD": ("HEAD", {}),
    "304": ("GET", {"if-none-match": "*"}),
    "304 to HEAD": ("HEAD", {"if-none-match": "*"}),
    "206": ("GET", {"range": "bytes=1-10"}),
    "206 in parts": ("GET", {"range": "bytes=0-4,100-,6-9"}),
    "416": ("GET", {"range": "bytes=99999999-"}),
    "412": ("GET", {"if-match": '"of something else"'}),
    "405": ("POST", {}),
    "OPTIONS": ("OPTIONS", {"origin": "https://shop.example", "access-control-request-method": "GET"}),
}
EMPTY = {"206": 200, "206 in parts": 200, "416": 200}
EXPECTED = {
    "GET": 200,
    "HEAD": 200,
    "206": 206,
    "206 in parts": 206,
    "416": 416,
    "412": 412,
    "405": 405,
    "OPTIONS": 204,
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("with_key", [True, False])
def test_replicas_answer_alike(pair: Pair, kind: str, with_key: bool) -> None:
    method, headers = REQUESTS[kind]
    key = {"authorization": f"Bearer {pair.caller.token}"} if with_key else {}
    for name, path in pair.paths.items():
        one, other = pair.ask(path, {**headers, **key}, method)
        assert one.status_code == expected(name, kind, with_key), name
        assert one.status_code == other.status_code
        assert [line for line in one.headers.multi_items() if line[0] not in OF_THE_REQUEST] == [
            line for line in other.headers.multi_items() if line[0] not in OF_THE_REQUEST
        ]
        assert one.content == other.content


def expected(name: str, kind: str, with_key: bool) -> int:
    if kind in {"405", "OPTIONS"}:
        return EXPECTED[kind]
    if name == "nothing" or (name.startswith("private") and not with_key):
        return 404
    if kind.startswith("304"):
        return 304
    return EMPTY.get(kind, EXPECTED[kind]) if name.startswith("empty") else EXPECTED[kind]


def test_keys_to_sign_with_are_exchanged_replica_by_replica(pair: Pair) -> None:
    """First every replica knows the new key, then it signs: the address of either is good wherever its key is known."""
    path, body = f"{pair.paths['private file'].removesuffix('/file')}/sign", {"expires_in": 3600}
    headers = {"authorization": f"Bearer {pair.caller.token}"}
    by_old, by_new = (client.http.post(path, json=body, headers=headers).json()["url"] for client in pair.clients)
    assert by_old != by_new
    assert [answer.status_code for answer in pair.ask(by_old, {})] == [200, 200]
    assert [answer.status_code for answer in pair.ask(by_new, {})] == [404, 200]


# --- what ends, ends everywhere ---------------------------------------------------------------------------------------

LOOKS: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"range": "bytes=0-3"}),
    ("GET", {"if-none-match": "*"}),
    ("HEAD", {"if-none-match": "*"}),
    ("GET", {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
]


def all_look(pair: Pair, paths: list[str]) -> set[int]:
    return {
        answer.status_code for path in paths for method, headers in LOOKS for answer in pair.ask(path, headers, method)
    }


def ends_everywhere(pair: Pair, paths: list[str], status: int) -> None:
    """Within the time to live, whichever way one looks; a 304 would tell a cache to go on."""
    time.sleep(TTL_S)  # the promise itself: what was granted may be served for so long
    deadline = time.monotonic() + SLACK_S
    while (seen := all_look(pair, paths)) != {status}:
        assert time.monotonic() < deadline, seen


@pytest.mark.parametrize("status", [404, 451])
def test_a_hold_ends_it_on_every_replica(pair: Pair, status: int) -> None:
    operator = pair.replicas[0].bearer(pair.replicas[0].key(None, "operator"))
    ref = pair.caller.post("shelf/2/thing", fresh_jpeg()).json()["ref"]
    signed = pair.caller.http.post(f"/media/{ref['ref_id']}/sign", json={"expires_in": 3600}).json()["url"]
    paths = [ref["links"]["blob"], ref["links"]["file"], signed]
    assert all_look(pair, paths) <= {200, 206, 304}
    hold = f"/holds/{ref['blob']['sha256']}"
    placed = operator.http.put(hold, json={"kind": "legal", "reason": "Order 4711", "status": status})
    assert placed.status_code in {200, 201}
    ends_everywhere(pair, paths, status)
    assert operator.http.delete(hold).status_code in {200, 204}
    assert all_look(pair, paths) <= {200, 206, 304}


def test_a_release_ends_it_on_every_replica(pair: Pair) -> None:
    ref = pair.caller.post("shelf/3/thing", fresh_jpeg()).json()["ref"]
    signed = pair.caller.http.post(f"/media/{ref['ref_id']}/sign", json={"expires_in": 3600}).json()["url"]
    paths = [ref["links"]["blob"], ref["links"]["file"], signed]
    assert all_look(pair, paths) <= {200, 206, 304}
    assert pair.caller.http.delete(f"/media/{ref['ref_id']}").status_code == 200
    ends_everywhere(pair, paths, 404)
