"""Which requests are delivery's: paths of bytes and renditions, whatever their method, but for the writes to a blob."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID

from service.delivery.asgi import Scope
from service.domain.blob import Sha256, parse_sha256
from service.domain.errors import BadHash
from service.domain.rendition import Format

_PATH = re.compile(
    r"/blobs/(?P<blob>(?!missing\Z)[^/]+)(?:/(?P<of_blob>(?!(?:meta|why)\Z)[^/]+))?"
    r"|/media/(?P<media>[^/]+)/file(?:/(?P<of_media>[^/]+))?"
)
_VARIANT = re.compile(r"([a-z][a-z0-9_-]{0,31})(?:\.([a-z0-9]{1,8}))?")
_REF_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

_SHORT = 128
"""More characters than the path of any blob or ref has."""

Name = Sha256 | UUID
"""A blob by its hash, or a ref by its id."""

What = Name | tuple[Name, str] | tuple[Name, str, Format]
"""What is asked for: bytes as they were sent, a rendition by `thumb.webp`, or one whose format was negotiated."""


@dataclass(frozen=True, slots=True)
class BlobRoute:
    """`/blobs/{sha256}`; None where the path names no hash, which is a 404."""

    sha256: Sha256 | None
    template: str = "/blobs/{sha256}"
    allow: str = "DELETE, GET, HEAD, OPTIONS, PUT"

    @property
    def name(self) -> Sha256 | None:
        """Whose bytes are asked for."""
        return self.sha256

    @property
    def what(self) -> What | None:
        """What an answer that needs no look at the request's headers is kept by."""
        return self.sha256


@dataclass(frozen=True, slots=True)
class MediaRoute:
    """`/media/{ref_id}/file`; None where the path names no UUIDv7 in its one spelling, which is a 404."""

    ref_id: UUID | None
    template: str = "/media/{ref_id}/file"
    allow: str = "GET, HEAD, OPTIONS"

    @property
    def name(self) -> UUID | None:
        """Whose bytes are asked for."""
        return self.ref_id

    @property
    def what(self) -> What | None:
        """What an answer that needs no look at the request's headers is kept by."""
        return self.ref_id


@dataclass(frozen=True, slots=True)
class PresetRoute:
    """A rendition below the path of its parent: `thumb`, or `thumb.webp` with an `extension`.

    `preset` is None where the path names none in its one spelling, which is a 404.
    """

    parent: BlobRoute | MediaRoute
    preset: str | None
    extension: str | None = None
    allow: str = "GET, HEAD, OPTIONS"
    template: str = field(init=False)
    """The route, as telemetry names it."""
    name: Name | None = field(init=False)
    """Of whose bytes a rendition is asked for."""
    what: What | None = field(init=False)
    """What an answer that needs no look at the request's headers is kept by; None where `Accept` has a say."""

    def __post_init__(self) -> None:
        """What follows from the path is known once: routes are remembered."""
        name = None if self.preset is None else self.parent.name
        is_exact = name is not None and self.extension is not None
        object.__setattr__(self, "template", f"{self.parent.template}/{{preset}}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "what", (name, f"{self.preset}.{self.extension}") if is_exact else None)


Route = BlobRoute | MediaRoute | PresetRoute


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
        return _below(MediaRoute(_ref_id(found["media"]) if canonical else None), found["of_media"])
    if writes and found["of_blob"] is None:
        return None
    return _below(BlobRoute(_sha256(name) if canonical else None), found["of_blob"])


_route_of_short = lru_cache(maxsize=4096)(_route)


def _below(parent: BlobRoute | MediaRoute, variant: str | None) -> Route:
    if variant is None:
        return parent
    named = _VARIANT.fullmatch(variant)
    return PresetRoute(parent, None) if named is None else PresetRoute(parent, named[1], named[2])


def _sha256(text: str) -> Sha256 | None:
    try:
        return parse_sha256(text)
    except BadHash:
        return None


def _ref_id(text: str) -> UUID | None:
    return UUID(text) if _REF_ID.fullmatch(text) else None
