"""Bytes into a file: gone on with where a connection broke, verified, and only then under their name."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import httpx

from refkeep_client.calls import Call
from refkeep_client.options import Progress
from refkeep_client.problems import Corrupted, Problem, Unexpected, Unreachable
from refkeep_client.results import Downloaded
from refkeep_client.sending import Sender, transport_errors

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e]*)"')
_HASH = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", re.ASCII)


@dataclass(slots=True)
class _Partial:
    """What has arrived so far: in a file beside the one it will be, counted and hashed.

    `furthest` is the most that was ever here, `total` its whole size, `etag` the strong validator, `sha256` what it
    must hash to; None where not yet known.
    """

    file: BinaryIO
    progress: Progress | None
    sha256: str | None
    total: int | None = None
    etag: str | None = None
    received: int = 0
    furthest: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    @property
    def complete(self) -> bool:
        return self.total is not None and self.received == self.total

    def begin(self, response: httpx.Response) -> None:
        """Take a whole answer from its beginning, whatever came before."""
        self.file.seek(0)
        self.file.truncate()
        self.received, self._digest = 0, hashlib.sha256()
        length = response.headers.get("content-length")
        self.total = int(length) if length is not None and length.isdecimal() else None
        self.etag, named = _validator(response)
        self.sha256 = self.sha256 or named
        self.tell()

    def add(self, piece: bytes) -> None:
        """Another piece; blocks."""
        self.file.write(piece)
        self._digest.update(piece)
        self.received += len(piece)
        self.furthest = max(self.furthest, self.received)

    def tell(self) -> None:
        if self.progress is not None:
            self.progress(self.received, self.total)

    def finish(self, call: Call) -> str:
        """The hash of all of it. Raises `Corrupted` unless it is the one it must have."""
        found = str(self._digest.hexdigest())
        if self.sha256 is None:
            raise Unexpected(f"{call} was answered without ETag and Repr-Digest: nothing to verify the bytes by.")
        if found != self.sha256:
            raise Corrupted(f"{call}: the {self.received} bytes that arrived hash to {found}, not to {self.sha256}.")
        self.file.flush()
        return found


async def download(
    sender: Sender, call: Call, path: Path, *, sha256: str | None = None, progress: Progress | None = None
) -> Downloaded:
    """Fetch what `call` shows into `path`, replacing what is there only by the whole of it.

    A connection that breaks is gone on from, as long as each attempt comes further than all before, or fails no more
    often in a row than the retry policy allows.
    """
    call = call.with_headers(accept_encoding="identity")
    with _beside(path) as (temporary, file):
        partial = _Partial(file, progress, sha256)
        resumed = await _fetch(sender, call, partial)
        found = partial.finish(call)
        await asyncio.to_thread(_publish, file, temporary, path)
    return Downloaded(path=str(path), sha256=found, size=partial.received, resumed=resumed)


async def _fetch(sender: Sender, call: Call, partial: _Partial) -> int:
    """Fill `partial` until it is complete; how often that took another attempt."""
    attempts, resumed = sender.attempts(call), 0
    while True:
        before = partial.furthest
        try:
            await _attempt(sender, call, partial)
        except (Problem, Unreachable) as error:
            if partial.furthest > before:
                attempts.succeeded()
            await attempts.wait_after(error)
            resumed += 1
        else:
            return resumed


async def _attempt(sender: Sender, call: Call, partial: _Partial) -> None:
    resuming = partial.received > 0 and partial.etag is not None
    if resuming:
        call = call.with_headers(range=f"bytes={partial.received}-", if_range=partial.etag or "")
    response = await sender.attempt(call, streamed=True)
    try:
        if not (resuming and _goes_on(response, partial)):
            partial.begin(response)
        with transport_errors(call):
            async for (
                piece
            ) in response.aiter_raw():  # as they come: what was collected first would be lost with a break
                await asyncio.to_thread(partial.add, piece)
                partial.tell()
    finally:
        await response.aclose()
    if partial.total is not None and not partial.complete:
        raise Unreachable(f"{call}: the answer ended after {partial.received} of {partial.total} bytes.")


def _goes_on(response: httpx.Response, partial: _Partial) -> bool:
    """Whether the answer goes on where the last one broke off; a whole one begins anew. Raises `Unexpected`."""
    if response.status_code == httpx.codes.OK:
        return False
    told = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if told is None or int(told[1]) != partial.received or partial.total not in {None, int(told[2])}:
        raise Unexpected(f"A range from byte {partial.received} was asked for, another one came.")
    partial.total = int(told[2])
    return True


def _validator(response: httpx.Response) -> tuple[str | None, str | None]:
    """The strong entity tag, and the SHA-256 that the answer promises; Refkeep's tags are hashes."""
    tag = _TAG.fullmatch(response.headers.get("etag", ""))
    strong = None if tag is None or tag[1] else tag[0]
    digest = _DIGEST.search(response.headers.get("repr-digest", ""))
    if digest is not None:
        return strong, b64decode(digest[1]).hex()
    return strong, tag[2] if tag is not None and _HASH.fullmatch(tag[2]) else None


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file in the same folder, which is gone afterwards unless it was renamed."""
    temporary = path.with_name(f".refkeep-{uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            yield temporary, file
    finally:
        temporary.unlink(missing_ok=True)


def _publish(file: BinaryIO, temporary: Path, path: Path) -> None:
    os.fsync(file.fileno())
    temporary.replace(path)
