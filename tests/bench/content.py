"""What is served and sent: bytes that nothing can compress, the same at every run."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track

from tests.bench.peers import Peer
from tests.parts.pictures import photograph, saved

KIB, MIB = 1024, 1024**2
SIZES = {"16k": 16 * KIB, "1m": MIB, "10m": 10 * MIB, "64m": 64 * MIB}
MANY = 20_000
BROWSER = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
"""What Chromium accepts for a picture."""
_AT_ONCE = 16
_PIECE = MIB


@dataclass(frozen=True)
class Content:
    """A file of `www`, and its hash."""

    path: Path
    sha256: str


def write_files(www: Path) -> dict[str, Content]:
    """The files that each peer serves whole, by their size."""
    return {name: _written(www / name, size) for name, size in SIZES.items()}


def _written(path: Path, size: int) -> Content:
    rng = random.Random(size)
    path.write_bytes(rng.randbytes(size))
    return Content(path, hashlib.sha256(path.read_bytes()).hexdigest())


def many() -> Iterator[bytes]:
    """Twenty thousand bodies of 16 KiB, on their way to a server, which takes a minute or two."""
    rng = random.Random(MANY)
    for _ in track(range(MANY), description="filling", console=Console(stderr=True)):
        yield rng.randbytes(16 * KIB)


def digests(stamp: str, size: int, count: int) -> Iterable[str]:
    """The hashes of the bodies that `registry.lua` sends with this stamp."""
    filling = b"x" * (size - 64)
    return (
        hashlib.sha256(f"{stamp:<32}{number:032d}".encode() + filling).hexdigest() for number in range(1, count + 1)
    )


def fill_refkeep(peer: Peer, contents: Iterable[bytes], kind: str) -> list[str]:
    """Attach each content publicly, to an entity of its own; the paths of its blobs."""
    return asyncio.run(_sent(peer, kind, contents, "/refs/bench/{name}/file/0", "/blobs/{sha256}"))


def fill_renditions(peer: Peer) -> dict[str, str]:
    """Paths of renditions of a photograph that are made already, and of blobs of their sizes, by what each is."""
    shown = saved(photograph(4000, 3000), ".jpg", Q=92)
    [parent] = fill_refkeep(peer, [shown], "photograph")
    paths = {"small.webp": f"{parent}/small.webp", "small": f"{parent}/small", "large.webp": f"{parent}/large.webp"}
    with httpx.Client(base_url=peer.url, headers={"accept": BROWSER}, timeout=120) as http:
        sizes = {name: len(http.get(path).raise_for_status().content) for name, path in paths.items()}
    blobs = fill_refkeep(peer, [random.Random(name).randbytes(size) for name, size in sizes.items()], "as-large")
    return paths | {f"blob like {name}": path for name, path in zip(sizes, blobs, strict=True)}


def fill_seaweed(peer: Peer, contents: Iterable[bytes], kind: str) -> list[str]:
    """Put each content into the bucket `bench`; the paths of its objects."""
    return asyncio.run(_sent(peer, kind, contents, "/bench/{name}", "/bench/{name}"))


async def _sent(peer: Peer, kind: str, contents: Iterable[bytes], to: str, found_at: str) -> list[str]:
    todo, paths = iter(enumerate(contents)), dict[int, str]()

    async def send() -> None:
        for number, content in todo:
            name = f"{kind}-{number}"
            answer = await http.put(to.format(name=name), content=_pieces(content))
            answer.raise_for_status()
            paths[number] = found_at.format(name=name, sha256=hashlib.sha256(content).hexdigest())

    async with httpx.AsyncClient(base_url=peer.url, headers=peer.key, timeout=120) as http:
        if to.startswith("/bench/"):
            assert (await http.put("/bench")).status_code in {HTTPStatus.OK, HTTPStatus.CONFLICT}
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_AT_ONCE):
                tasks.create_task(send())
    return [paths[number] for number in sorted(paths)]


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
