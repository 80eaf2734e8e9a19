"""Which requests are delivery's: the paths of bytes, whatever their method, but for the writes to a blob."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from service.delivery.asgi import Scope
from service.domain.blob import Sha256, parse_sha256
from service.domain.errors import BadHash

_PATH = re.compile(r"/blobs/(?P<blob>(?!missing\Z)[^/]+)|/media/(?P<media>[^/]+)/file")
_REF_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

_SHORT = 128
"""More characters than the path of any blob or ref has."""

BLOB_TEMPLATE = "/blobs/{sha256}"


@dataclass(frozen=True, slots=True)
class BlobRoute:
    """`/blobs/{sha256}`; None where the path names no hash, which is a 404."""

    sha256: Sha256 | None
    template: str = BLOB_TEMPLATE
    allow: str = "DELETE, GET, HEAD, OPTIONS, PUT"

    @property
    def name(self) -> Sha256 | None:
        """What is asked for."""
        return self.sha256


@dataclass(frozen=True, slots=True)
class MediaRoute:
    """`/media/{ref_id}/file`; None where the path names no UUIDv7 in its one spelling, which is a 404."""

    ref_id: UUID | None
    template: str = "/media/{ref_id}/file"
    allow: str = "GET, HEAD, OPTIONS"

    @property
    def name(self) -> UUID | None:
        """What is asked for."""
        return self.ref_id


Route = BlobRoute | MediaRoute


def match(scope: Scope) -> Route | None:
    """Return the route of an HTTP request that delivery answers, None for every other one."""
    path, raw_path = scope["path"], scope.get("raw_path")
    # What strangers send is remembered only as far as it is short: a cache counts its entries, not their bytes.
    route = _route_of_short if len(path) <= _SHORT and len(raw_path or b"") <= _SHORT else _route
    return route(path, raw_path, writes=scope["method"] in {"PUT", "DELETE"})


def _route(path: str, raw_path: bytes | None, *, writes: bool) -> Route | None:
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    # Every name of these routes is spelled without percent-encoding: the path must have come as it reads.
    canonical = raw_path is None or raw_path == path.encode()
    if (name := found["blob"]) is None:
        return MediaRoute(_ref_id(found["media"]) if canonical else None)
    if writes:
        return None
    return BlobRoute(_sha256(name) if canonical else None)


_route_of_short = lru_cache(maxsize=4096)(_route)


def _sha256(text: str) -> Sha256 | None:
    try:
        return parse_sha256(text)
    except BadHash:
        return None


def _ref_id(text: str) -> UUID | None:
    return UUID(text) if _REF_ID.fullmatch(text) else None
