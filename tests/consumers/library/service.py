"""What the library service works with, and what both of its faces do: JSON for callers, a page for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Response

from tests.consumers.library.own import OwnCovers
from tests.consumers.shared.answers import attached_answer, shown
from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import Pool
from tests.consumers.shared.follower import Follower
from tests.consumers.shared.outbox import Courier
from tests.consumers.shared.page_spans import PageSpans
from tests.consumers.shared.picture import Picture
from tests.consumers.shared.settings import Settings


@dataclass(frozen=True)
class Library:
    """What the handlers work with."""

    settings: Settings
    pool: Pool
    covers: Covers
    own: OwnCovers
    courier: Courier
    follower: Follower
    page_spans: PageSpans

    def document(self, row: Any) -> dict[str, Any]:
        """A library as callers see it."""
        cover = shown(self.settings, row["cover_ref_id"]) or own_shown(row["own_cover_id"])
        return {"id": row["id"], "name": row["name"], "cover": cover, "version": row["cover_version"]}

    async def give_cover(self, library_id: str, picture: Picture, key: str) -> Response[dict[str, Any]]:
        """To Refkeep, or to our own table while we are rolled back. Raises `Refusal`."""
        if self.settings.own_covers:
            had = self.document(await self.covers.row(library_id))["cover"]
            own_id = await self.own.put(library_id, picture)
            self.courier.wake()
            document = {"decision": "replace" if had else "insert", "picture": own_shown(own_id)}
            return Response(document, status_code=200 if had else 201)
        attached = await self.covers.put(library_id, picture, key)
        await self.own.remove(library_id)  # until now, and if we die before, it is hidden by the ref
        return attached_answer(self.settings, attached)

    async def remove_cover(self, library_id: str) -> None:
        """Show none, whichever way it came. Raises `Refusal`."""
        await self.covers.remove(library_id)
        await self.own.remove(library_id)
        self.courier.wake()


def own_shown(own_id: object) -> dict[str, Any] | None:
    """A picture of our own, None where there is none; `ref_id` is null."""
    return None if own_id is None else {"ref_id": None, "url": f"/own-covers/{own_id}"}
