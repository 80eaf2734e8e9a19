"""The library service in a browser: a page for the cover, its files, and what it tells about itself."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

from litestar import MediaType, Response, get, post
from litestar.datastructures import CacheControlHeader, State
from litestar.response import Redirect
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from tests.consumers.library.markup import guards, page
from tests.consumers.library.service import Library
from tests.consumers.shared.page_spans import PageSpan
from tests.consumers.shared.refusals import Refusal
from tests.consumers.shared.web import HttpRequest, key_of, received

_STATIC = Path(__file__).with_name("page") / "static"
_KEPT = {"cache-control": "private, max-age=31536000, immutable"}


@get("/libraries/{library_id:str}/page")
async def get_page(state: State, library_id: str) -> Response[str]:
    """A library's cover, to look at and to change."""
    return await _page(state.service, library_id)


@post("/libraries/{library_id:str}/page")
async def post_page(state: State, request: HttpRequest, library_id: str) -> Response[Any]:
    """A cover by a plain form: the old way, and that of browsers without scripts."""
    library: Library = state.service
    try:
        async with received(request) as picture:
            await library.give_cover(library_id, picture, key_of(request, "library"))
    except Refusal as refusal:
        return await _page(library, library_id, refusal)
    return Redirect(f"/libraries/{library_id}/page", status_code=303)


@get("/own-covers/{own_id:uuid}")
async def get_own_cover(state: State, own_id: UUID) -> Response[bytes]:
    """A picture that we keep ourselves: the old way."""
    library: Library = state.service
    row = await library.own.content(own_id)
    return Response(
        row["content"], media_type=row["media_type"], headers={**_KEPT, "x-content-type-options": "nosniff"}
    )


@post("/page-spans", status_code=HTTPStatus.NO_CONTENT, request_max_body_size=4096)
async def post_page_span(state: State, data: PageSpan) -> None:
    """What a page tells of an upload; beacons do not wait for an answer."""
    library: Library = state.service
    library.page_spans.take(data)


def _guarded(response: Response[Any]) -> Response[Any]:
    response.headers["x-content-type-options"] = "nosniff"
    return response


_FILES = create_static_files_router(
    "/static", [_STATIC], cache_control=CacheControlHeader(no_cache=True), after_request=_guarded
)
SITE: list[ControllerRouterHandler] = [get_page, post_page, get_own_cover, post_page_span, _FILES]


async def _page(library: Library, library_id: str, refusal: Refusal | None = None) -> Response[str]:
    document = library.document(await library.covers.row(library_id))
    status = HTTPStatus.OK if refusal is None else refusal.status
    markup = page(document, is_old=library.settings.own_covers, refusal=refusal)
    headers = guards(library.settings.media_url, scripted=not library.settings.own_covers)
    return Response(markup, status_code=status, media_type=MediaType.HTML, headers=headers)
