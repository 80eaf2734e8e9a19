"""Bytes, named by their SHA-256."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

import msgspec

from refkeep_client.bodies import Body, body_of, named_body
from refkeep_client.calls import present, read, with_body, with_json, write
from refkeep_client.content import Content
from refkeep_client.download import download
from refkeep_client.options import CallOptions, DownloadOptions, SendOptions, WriteOptions
from refkeep_client.problems import Corrupted, Forbidden, NotFound
from refkeep_client.results import Blob, BlobMeta, Decision, Downloaded, Reasons, Sent
from refkeep_client.sending import Sender
from refkeep_client.texts import checked_sha256, path_of


class _Missing(msgspec.Struct, frozen=True):
    missing: tuple[str, ...]


class Blobs:
    """`refkeep.blobs`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def send(self, content: Content, **options: Unpack[SendOptions]) -> Sent:
        """Send bytes and learn their name; they are hashed while they go, and the answer must say the same.

        Raises `TooLarge`, `Rejected`, `QuotaExceeded`, `OnHold`, `Corrupted`, `NotRewindable`.
        """
        return await self._upload("POST", "/blobs", body_of(content, options), options)

    async def put(self, content: Content, sha256: str | None = None, **options: Unpack[SendOptions]) -> Sent:
        """Send bytes under their name, unless the workspace holds them already: then nothing is sent.

        Without `sha256` the content is read twice, first to hash it; a bare iterator needs its hash given
        (`ValueError`). Raises `DigestMismatch` where the bytes are others, and what `send` raises.
        """
        if sha256 is None:
            body = await named_body(content, options)
        else:
            body = body_of(content, options, checked_sha256(sha256))
        name = body.named or ""
        return await self._held(name, options) or await self._upload("PUT", path_of("blobs", name), body, options)

    async def missing(self, hashes: Iterable[str], **options: Unpack[CallOptions]) -> tuple[str, ...]:
        """Which of these (≤ 1000) the workspace must still send, in their order; extends the life of those it holds."""
        return await self._missing(hashes, options)

    async def meta(self, sha256: str, **options: Unpack[CallOptions]) -> BlobMeta:
        """What is known of held bytes, and where they are used. Raises `NotFound`."""
        return await self._meta(sha256, options)

    async def why(self, sha256: str, **options: Unpack[CallOptions]) -> Reasons:
        """Why bytes are still there. Raises `NotFound`."""
        return await self._sender.ask(read("GET", path_of("blobs", checked_sha256(sha256), "why"), options), Reasons)

    async def delete(self, sha256: str, **options: Unpack[WriteOptions]) -> None:
        """Give up the workspace's holding. Raises `NotFound`, `Conflict` while refs need it."""
        await self._sender.answer(write("DELETE", path_of("blobs", checked_sha256(sha256)), options))

    async def download(self, sha256: str, path: Path | str, **options: Unpack[DownloadOptions]) -> Downloaded:
        """Fetch bytes into a file: whole and verified, or not there at all.

        With `preset` it is a rendition of them: `thumb.webp`, or `thumb` for the format that everybody can show.
        Raises `NotFound`, `Corrupted`, `Unreachable`.
        """
        preset = options.get("preset")
        call = read("GET", path_of("blobs", checked_sha256(sha256), *present(preset=preset).values()), options)
        expected = sha256 if preset is None else None
        return await download(self._sender, call, Path(path), sha256=expected, progress=options.get("progress"))

    async def _upload(self, method: str, path: str, body: Body, options: SendOptions) -> Sent:
        call = with_body(write(method, path, options), body, options.get("media_type"))
        return verified(await self._sender.ask_write(call, Sent), body)

    async def _held(self, sha256: str, options: CallOptions) -> Sent | None:
        """What the workspace has already; None where the bytes must be sent, or where that cannot be told."""
        if await self._missing([sha256], options):
            return None
        try:
            meta = await self._meta(sha256, options)
        except (Forbidden, NotFound):  # a key that may only write; bytes that went meanwhile
            return None
        facts = {name: getattr(meta, name) for name in Blob.__struct_fields__}
        return Sent(decision=Decision.DUPLICATE.value, blob=Blob(**facts))

    async def _missing(self, hashes: Iterable[str], options: CallOptions) -> tuple[str, ...]:
        asked = {"sha256": [checked_sha256(sha256) for sha256 in hashes]}
        call = with_json(read("POST", "/blobs/missing", options), asked)
        return (await self._sender.ask(call, _Missing)).missing

    async def _meta(self, sha256: str, options: CallOptions) -> BlobMeta:
        call = read("GET", path_of("blobs", checked_sha256(sha256), "meta"), options)
        return await self._sender.ask(call, BlobMeta)


def verified(sent: Sent, body: Body) -> Sent:
    """The same, once it is about the bytes that went out. Raises `Corrupted`."""
    check_sent(sent.blob.sha256, body)
    return sent


def check_sent(arrived: str, body: Body) -> None:
    """Raises `Corrupted` unless the bytes that arrived, by their SHA-256, are what went out."""
    if body.found is not None and body.found != arrived:
        raise Corrupted(f"Bytes that hash to {body.found} went out, {arrived} arrived.")
