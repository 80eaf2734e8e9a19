"""Bytes, named by their SHA-256."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

from refkeep_client.content import Content
from refkeep_client.options import CallOptions, DownloadOptions, SendOptions, WriteOptions
from refkeep_client.results import BlobMeta, Downloaded, Reasons, Sent
from refkeep_client.sending import Sender


class Blobs:
    """`refkeep.blobs`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def send(self, content: Content, **options: Unpack[SendOptions]) -> Sent:
        """Send bytes and learn their name; they are hashed while they go, and the answer must say the same.

        Raises `TooLarge`, `Rejected`, `QuotaExceeded`, `OnHold`, `Corrupted`, `NotRewindable`.
        """
        raise NotImplementedError

    async def put(self, content: Content, sha256: str | None = None, **options: Unpack[SendOptions]) -> Sent:
        """Send bytes under their name, unless the workspace holds them already: then nothing is sent.

        Without `sha256` the content is read twice, first to hash it; a bare iterator needs its hash given
        (`ValueError`). Raises `DigestMismatch` where the bytes are others, and what `send` raises.
        """
        raise NotImplementedError

    async def missing(self, hashes: Iterable[str], **options: Unpack[CallOptions]) -> tuple[str, ...]:
        """Which of these the workspace must still send, in their order; extends the life of those it holds."""
        raise NotImplementedError

    async def meta(self, sha256: str, **options: Unpack[CallOptions]) -> BlobMeta:
        """What is known of held bytes, and where they are used. Raises `NotFound`."""
        raise NotImplementedError

    async def why(self, sha256: str, **options: Unpack[CallOptions]) -> Reasons:
        """Why bytes are still there. Raises `NotFound`."""
        raise NotImplementedError

    async def delete(self, sha256: str, **options: Unpack[WriteOptions]) -> None:
        """Give up the workspace's holding. Raises `NotFound`, `Conflict` while refs need it."""
        raise NotImplementedError

    async def download(self, sha256: str, path: Path, **options: Unpack[DownloadOptions]) -> Downloaded:
        """Fetch bytes into a file: whole and verified, or not there at all.

        Raises `NotFound`, `Corrupted`, `Unreachable`.
        """
        raise NotImplementedError
