"""Refs by their ids: what callers store, what people manage."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Unpack
from uuid import UUID

from refkeep_client.options import CallOptions, ChangeOptions, DownloadOptions, MediaOptions, PatchOptions
from refkeep_client.results import Changed, Downloaded, MediaPage, Ref, SignedUrl
from refkeep_client.sending import Sender


class Media:
    """`refkeep.media`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, ref_id: UUID | str, **options: Unpack[CallOptions]) -> Ref:
        """Everything about a ref, live or in the trash. Raises `NotFound`, `Gone` once it is purged."""
        raise NotImplementedError

    def list(self, *, page_size: int = 100, **options: Unpack[MediaOptions]) -> AsyncIterator[Ref]:
        """All refs that fit, asked for page by page: `async for ref in refkeep.media.list(state="trashed")`."""
        raise NotImplementedError

    async def page(self, cursor: str | None = None, *, limit: int = 100, **options: Unpack[MediaOptions]) -> MediaPage:
        """One page of that list (≤ 500)."""
        raise NotImplementedError

    async def patch(self, ref_id: UUID | str, **options: Unpack[PatchOptions]) -> Changed:
        """Change filename, alt, owner or visibility. Raises `NotFound`, `Gone`, `Conflict` in the trash."""
        raise NotImplementedError

    async def delete(self, ref_id: UUID | str, **options: Unpack[ChangeOptions]) -> Changed:
        """To the trash; again is a `noop`. Raises `NotFound`, `Gone`."""
        raise NotImplementedError

    async def restore(self, ref_id: UUID | str, *, replace: bool = False, **options: Unpack[ChangeOptions]) -> Changed:
        """Back from the trash; `replace` sends what fills a single slot now to the trash.

        Raises `Conflict` (`slot-taken`, `role-full`, `not-trashed`), `NotFound`, `Gone`.
        """
        raise NotImplementedError

    async def purge(self, ref_id: UUID | str, **options: Unpack[ChangeOptions]) -> Changed:
        """End a trashed ref now (scope admin). Raises `Conflict` while it is live, `NotFound`, `Gone`."""
        raise NotImplementedError

    async def sign(self, ref_id: UUID | str, expires_in: int = 3600, **options: Unpack[CallOptions]) -> SignedUrl:
        """An address for GET and HEAD without a key, for so many seconds, rounded up to full five minutes."""
        raise NotImplementedError

    async def sign_many(
        self, ref_ids: Iterable[UUID | str], expires_in: int = 3600, **options: Unpack[CallOptions]
    ) -> tuple[SignedUrl, ...]:
        """The same for up to 100 refs; those that are not there are left out."""
        raise NotImplementedError

    async def download(self, ref_id: UUID | str, path: Path, **options: Unpack[DownloadOptions]) -> Downloaded:
        """Fetch a ref's bytes into a file: whole and verified, or not there at all. Raises as `Blobs.download`."""
        raise NotImplementedError
