"""Refs by their ids: what callers store, what people manage."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Unpack
from uuid import UUID

import msgspec

from refkeep_client.calls import Call, change, present, read, with_json
from refkeep_client.download import download
from refkeep_client.options import CallOptions, ChangeOptions, DownloadOptions, MediaOptions, PatchOptions
from refkeep_client.results import Changed, Downloaded, MediaPage, Ref, SignedUrl
from refkeep_client.sending import Sender
from refkeep_client.texts import path_of, ref_id_text

_FILTERS = ("state", "entity_type", "entity_id", "role", "sha256", "media_type")
_CHANGES = ("filename", "alt", "owner", "visibility")


class _SignedUrls(msgspec.Struct, frozen=True):
    items: tuple[SignedUrl, ...]


class Media:
    """`refkeep.media`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, ref_id: UUID | str, **options: Unpack[CallOptions]) -> Ref:
        """Everything about a ref, live or in the trash. Raises `NotFound`, `Gone` once it is purged."""
        return await self._sender.ask(read("GET", _path(ref_id), options), Ref)

    async def page(self, cursor: str | None = None, *, limit: int = 100, **options: Unpack[MediaOptions]) -> MediaPage:
        """One page (≤ 500) of the refs that fit."""
        return await self._sender.ask(_listing(cursor, limit, options), MediaPage)

    async def patch(self, ref_id: UUID | str, **options: Unpack[PatchOptions]) -> Changed:
        """Change filename, alt, owner or visibility. Raises `NotFound`, `Gone`, `Conflict` in the trash."""
        changes = {name: options[name] for name in _CHANGES if name in options}  # type: ignore[literal-required]
        return await self._change(with_json(change("PATCH", _path(ref_id), options), changes))

    async def delete(self, ref_id: UUID | str, **options: Unpack[ChangeOptions]) -> Changed:
        """To the trash; again is a `noop`. Raises `NotFound`, `Gone`."""
        return await self._change(change("DELETE", _path(ref_id), options))

    async def restore(self, ref_id: UUID | str, *, replace: bool = False, **options: Unpack[ChangeOptions]) -> Changed:
        """Back from the trash; `replace` sends what fills a single slot now to the trash.

        Raises `Conflict` (`slot-taken`, `role-full`, `not-trashed`), `NotFound`, `Gone`.
        """
        members = {"on_conflict": "replace"} if replace else {}
        return await self._change(with_json(change("POST", _path(ref_id, "restore"), options), members))

    async def purge(self, ref_id: UUID | str, **options: Unpack[ChangeOptions]) -> Changed:
        """End a trashed ref now (scope admin). Raises `Conflict` while it is live, `NotFound`, `Gone`."""
        return await self._change(change("POST", _path(ref_id, "purge"), options))

    async def sign(self, ref_id: UUID | str, expires_in: int = 3600, **options: Unpack[CallOptions]) -> SignedUrl:
        """An address for GET and HEAD without a key, for so many seconds, rounded up to full five minutes.

        Raises `NotFound`, `Gone`, `Unavailable` (`signing-disabled`).
        """
        call = with_json(read("POST", _path(ref_id, "sign"), options), {"expires_in": expires_in})
        return await self._sender.ask(call, SignedUrl)

    async def sign_many(
        self, ref_ids: Iterable[UUID | str], expires_in: int = 3600, **options: Unpack[CallOptions]
    ) -> tuple[SignedUrl, ...]:
        """The same for up to 100 refs; those that are not there are left out."""
        members = {"ref_ids": [ref_id_text(ref_id) for ref_id in ref_ids], "expires_in": expires_in}
        call = with_json(read("POST", "/media/sign", options), members)
        return (await self._sender.ask(call, _SignedUrls)).items

    async def download(self, ref_id: UUID | str, path: Path | str, **options: Unpack[DownloadOptions]) -> Downloaded:
        """Fetch a ref's bytes into a file: whole and verified, or not there at all. Raises as `Blobs.download`."""
        call = read("GET", _path(ref_id, "file", *present(preset=options.get("preset")).values()), options)
        return await download(self._sender, call, Path(path), progress=options.get("progress"))

    async def list(self, *, page_size: int = 100, **options: Unpack[MediaOptions]) -> AsyncGenerator[Ref, None]:
        """All refs that fit, asked for page by page: `async for ref in refkeep.media.list(state="trashed")`."""
        cursor: str | None = None
        while True:
            page = await self._sender.ask(_listing(cursor, page_size, options), MediaPage)
            for ref in page.items:
                yield ref
            if (cursor := page.next) is None:
                return

    async def _change(self, call: Call) -> Changed:
        return await self._sender.ask_write(call, Changed)


def _path(ref_id: UUID | str, *rest: str) -> str:
    return path_of("media", ref_id_text(ref_id), *rest)


def _listing(cursor: str | None, limit: int, options: MediaOptions) -> Call:
    wanted = present(**{name: options.get(name) for name in _FILTERS})
    ref_ids = options.get("ref_ids")
    if ref_ids is not None:
        wanted["ref_id"] = ",".join(ref_id_text(ref_id) for ref_id in ref_ids)
    return read("GET", "/media", options, {**wanted, "cursor": cursor, "limit": limit})
