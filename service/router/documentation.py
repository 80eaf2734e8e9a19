"""The API's own description: for programs at /openapi.json, for people at /docs, which asks no other server."""

from __future__ import annotations

from importlib.resources import files

from litestar import Response, get

from service.domain.errors import NotFound
from service.router.openapi.document import document_json

_ASSETS = {"styles.min.css": "text/css", "web-components.min.js": "text/javascript"}
# Elements writes styles into its own page; it may call this server alone, whatever its script were to do.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NOSNIFF = {"x-content-type-options": "nosniff"}


@get("/openapi.json", operation="openapi.get", sync_to_thread=True)
def get_openapi() -> Response[bytes]:
    """The OpenAPI document."""
    headers = {**_NOSNIFF, "cache-control": "no-cache", "access-control-allow-origin": "*"}
    return Response(document_json(), headers=headers, media_type="application/json")


@get("/docs", operation="docs.get", sync_to_thread=True)
def get_docs() -> Response[bytes]:
    """A page that shows the document."""
    page = files("service.router.openapi").joinpath("docs.html").read_bytes()
    headers = {**_NOSNIFF, "cache-control": "no-cache", "content-security-policy": _POLICY}
    return Response(page, headers=headers, media_type="text/html")


@get("/docs/{asset:str}", operation="docs.get", sync_to_thread=True)
def get_docs_asset(asset: str) -> Response[bytes]:
    """What the page is made of: Stoplight Elements, from an installed package."""
    media_type = _ASSETS.get(asset)
    if media_type is None:
        raise NotFound("Nothing is here.")
    content = files("stopments").joinpath("static", asset).read_bytes()
    return Response(content, headers={**_NOSNIFF, "cache-control": "public, max-age=86400"}, media_type=media_type)


HANDLERS = [get_openapi, get_docs, get_docs_asset]
