"""Signed addresses through a cache: kept under their whole address, and not a moment longer than they hold."""

from __future__ import annotations

import re
import time
from base64 import b64decode

import httpx

from service.domain.signature import Signatures, SigningKey
from tests.parts.blobs import MIB, noise
from tests.parts.edges import Edge
from tests.parts.origin import SIGNING_KEY, Item, Origin

KEYS = Signatures((SigningKey("2026", b64decode(SIGNING_KEY.partition(":")[2])),))
HELD_S = 4
NGINX_ROUNDS_UP_S = 1


def private_item(origin: Origin, edge: Edge) -> Item:
    """Private bytes of two slices."""
    return origin.publish(noise(MIB + 1, seed=edge.port + time.monotonic_ns()), visibility="private")


def test_one_address_serves_many_and_replicas_see_it_once(origin: Origin, edge: Edge, visitor: httpx.Client) -> None:
    item = private_item(origin, edge)
    assert visitor.get(origin.sign(item)).content == item.content
    before = len(origin.asked_for(item))
    for _ in range(20):
        answer = visitor.get(origin.sign(item))
        assert (answer.status_code, answer.content) == (200, item.content)
        assert answer.headers["cache-control"].startswith("private, ")
    part = visitor.get(origin.sign(item), headers={"range": f"bytes={MIB}-"})
    assert (part.status_code, part.content) == (206, item.content[MIB:])
    downloads = [each for each in origin.asked_for(item)[before:] if each["outcome"] != "not_modified"]
    assert downloads == []


def test_any_other_address_shows_nothing_though_the_bytes_are_there(
    origin: Origin, edge: Edge, visitor: httpx.Client
) -> None:
    item = private_item(origin, edge)
    signed = origin.sign(item)
    assert visitor.get(signed).status_code == 200
    path, _, query = signed.partition("?")
    tampered = [
        f"{signed[:place]}{'A' if signed[place] != 'A' else 'B'}{signed[place + 1 :]}" for place in (-1, -20, -43)
    ]
    tampered += [signed.replace("expires=1", "expires=2"), f"{signed}&a=b", f"{path}?a=b&{query}", signed[:-1], path]
    tampered += [f"{path}?signature={query[-43:]}", f"{path}?{query}#", signed.replace("key=2026", "key=2025")]
    tampered += [signed.replace("/file", "/%66ile"), f"{item.blob}?{query}", item.blob]
    for address in tampered:
        target = address.removesuffix("#") + ("" if "#" not in address else "%23")
        answer = visitor.get(target)
        assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store"), target
    assert visitor.post(signed).status_code == 405
    assert visitor.put(signed).status_code == 405
    assert visitor.get(signed).status_code == 200


def test_it_ends_at_the_cache_when_it_ends(origin: Origin, edge: Edge, visitor: httpx.Client) -> None:
    item = private_item(origin, edge)
    expires = int(time.time()) + HELD_S
    signed = f"{item.file}?{KEYS.sign(item.file, expires)}"
    assert visitor.get(signed).content == item.content
    hits, served, asked = 0, 0.0, time.time()
    while (answer := visitor.get(signed)).status_code == 200:
        kept = re.search(r"max-age=(\d+)", answer.headers["cache-control"])
        left = int(kept[1]) - int(answer.headers["age"]) if kept else 0
        assert asked + left <= expires + NGINX_ROUNDS_UP_S
        hits += "hit" in answer.headers["cache-status"]
        served, asked = asked, time.time()
    assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store")
    assert hits > 0
    assert expires - 1 <= served <= expires + (NGINX_ROUNDS_UP_S if edge.name == "nginx" else 0)
    for headers in ({"range": "bytes=0-0"}, {"if-none-match": f'"{item.sha256}"'}):
        assert visitor.get(signed, headers=headers).status_code == 404


def test_a_release_ends_it(origin: Origin, edge: Edge, visitor: httpx.Client) -> None:
    item = private_item(origin, edge)
    signed = origin.sign(item)
    assert visitor.get(signed).status_code == 200
    assert origin.writer.http.delete(f"/media/{item.ref_id}").status_code == 200
    origin.await_everywhere(signed, 404)
    edge.purge(item.file, tag=f"ref-{item.ref_id}")
    assert visitor.get(signed).status_code == 404
