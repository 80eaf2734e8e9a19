"""The library service over HTTP: libraries, each with a cover."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, Response, delete, get, post, put
from litestar.datastructures import State

from tests.consumers.library.own import OwnCovers
from tests.consumers.library.service import Library
from tests.consumers.library.site import SITE
from tests.consumers.shared.calls import refkeep_for
from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import opened_database
from tests.consumers.shared.follower import Follower
from tests.consumers.shared.health import health_of
from tests.consumers.shared.outbox import Courier
from tests.consumers.shared.page_spans import exported_page_spans
from tests.consumers.shared.projection import Projection
from tests.consumers.shared.refusals import refkeep_refusals
from tests.consumers.shared.settings import Settings
from tests.consumers.shared.web import HttpRequest, build_app, key_of, received, running

SERVICE = "library"
_TABLES = Path(__file__).with_name("schema.sql")
_PUT = """
INSERT INTO libraries (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name
RETURNING *
"""


class LibraryName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a library is made of."""

    name: str


@put("/libraries/{library_id:str}")
async def put_library(state: State, library_id: str, data: LibraryName) -> dict[str, Any]:
    """Open a library, or rename it. The id of one that was deleted is not used again."""
    library: Library = state.service
    await library.covers.admit(library_id)
    return library.document(await library.pool.fetchrow(_PUT, library_id, data.name))


@get("/libraries/{library_id:str}")
async def get_library(state: State, library_id: str) -> dict[str, Any]:
    """A library and its cover, from our own table: Refkeep is not asked."""
    library: Library = state.service
    return library.document(await library.covers.row(library_id))


@post("/libraries/{library_id:str}/cover")
async def post_cover(state: State, request: HttpRequest, library_id: str) -> Response[dict[str, Any]]:
    """Give it a cover, in the place of the one it has."""
    library: Library = state.service
    async with received(request) as picture:
        return await library.give_cover(library_id, picture, key_of(request, SERVICE))


@delete("/libraries/{library_id:str}/cover")
async def delete_cover(state: State, library_id: str) -> None:
    """Show none."""
    library: Library = state.service
    await library.remove_cover(library_id)


@delete("/libraries/{library_id:str}")
async def delete_library(state: State, library_id: str) -> None:
    """Close it for good; again is nothing."""
    library: Library = state.service
    async with library.pool.acquire() as connection, connection.transaction():
        await library.covers.depart(connection, library_id)
    library.courier.wake()


@get("/policies/cover")
async def get_cover_policy(state: State) -> dict[str, Any]:
    """What a cover may be, so that a page can say it before anything is sent; the rules are Refkeep's."""
    library: Library = state.service
    with refkeep_refusals():
        policy = await library.covers.refkeep.policies.get(library.covers.entity_type, "cover")
    limits = {name: getattr(policy, name) for name in ("media_types", "max_bytes", "max_pixels")}
    return {**limits, "max_edge": policy.max_edge if policy.oversize == "reject" else None}


@get("/health")
async def get_health(state: State) -> dict[str, Any]:
    """How the service does."""
    library: Library = state.service
    return await health_of(library.pool, library.follower)


HANDLERS = [put_library, get_library, post_cover, delete_cover, delete_library, get_cover_policy, get_health, *SITE]


def library_app(settings: Settings) -> Litestar:
    """The service; what it works with lives as long as it does."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        refkeep = refkeep_for(settings)
        async with opened_database(settings.database_url, settings.schema, _TABLES) as pool, refkeep:
            courier = Courier(refkeep, pool)
            covers = Covers(refkeep, pool, courier, "library", "libraries")
            follower = Follower(refkeep, Projection(refkeep, pool, covers))
            own = OwnCovers(pool, covers)
            with exported_page_spans(SERVICE) as page_spans:
                app.state.service = Library(settings, pool, covers, own, courier, follower, page_spans)
                async with running(courier.run(), follower.run()):
                    yield

    return build_app(HANDLERS, lifespan)
