"""The response headers of delivery: pure, from what was granted to the lines that go out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from service.delivery.access import Grant, Reuse
from service.delivery.asgi import Headers
from service.delivery.conditional import Validators
from service.delivery.disposition import content_disposition, is_inline
from service.delivery.httpdate import format_http_date
from service.delivery.ranges import ByteRange

_KEPT: dict[Reuse, Headers] = {
    Reuse.IMMUTABLE: [(b"cache-control", b"public, max-age=31536000, immutable, no-transform")],
    Reuse.SHARED: [(b"cache-control", b"public, max-age=300, no-transform")],
    Reuse.BRIEF: [(b"cache-control", b"max-age=300, no-transform")],
    Reuse.SIGNED: [],  # depends on the time: see `signed`
    Reuse.NEVER: [(b"cache-control", b"private, no-store")],
}
_SIGNED_MOST_SECONDS = 300
_GUARDS: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]
_SHARED = (b"cross-origin-resource-policy", b"cross-origin")
_OWN = (b"cross-origin-resource-policy", b"same-origin")
_EXPOSED = b"ETag, Content-Range, Accept-Ranges, Content-Length, Repr-Digest, Server-Timing"
_ASKABLE = (
    b"Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Range, If-Unmodified-Since, Range, "
    b"Traceparent, Want-Repr-Digest, Workspace, X-Request-ID"
)
_PREFLIGHT: Headers = [
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", _ASKABLE),
    (b"access-control-max-age", b"600"),
]


@dataclass(frozen=True, slots=True)
class CrossOrigin:
    """Which origins may read answers in a page, timings included: `*` for all, none when empty."""

    origins: tuple[str, ...] = ("*",)

    def headers(self, origin: str | None) -> Headers:
        """Return the CORS and timing headers for a request from `origin` (None: not from another page)."""
        if not self.origins:
            return []
        if "*" in self.origins:
            return [*self._allow("*"), (b"timing-allow-origin", b"*")]
        named = self._allow(origin) if origin in self.origins and origin is not None else []
        timing = ", ".join(self.origins).encode("latin-1")
        return [*named, (b"timing-allow-origin", timing), (b"vary", b"Origin")]

    def preflight(self, origin: str | None) -> Headers:
        """Answer a preflight: methods and headers of all that lives under delivery's paths."""
        return [*self.headers(origin), *_PREFLIGHT] if self.origins else []

    def _allow(self, origin: str) -> Headers:
        allowed = (b"access-control-allow-origin", origin.encode("latin-1"))
        return [allowed, (b"access-control-expose-headers", _EXPOSED)]


EVERYWHERE = CrossOrigin()
"""Any page may read what its visitor may fetch: keys travel in a header that no browser adds by itself."""


def validators(grant: Grant) -> Validators:
    """Say what the bytes are recognised by; a blob's age is another workspace's secret, a ref's creation is not.

    Renditions have no date at all: what the preset says may have changed since the ref was made.
    """
    return Validators(f'"{grant.content.sha256}"', _created_at(grant))


def caching(grant: Grant) -> Headers:
    """Return what 200, 206 and 304 share: how the answer may be kept, found again and purged (RFC 9110 §15.4.5)."""
    sha256 = grant.content.sha256
    tags = _tags(grant)
    headers = [
        (b"etag", f'"{sha256}"'.encode()),
        *_KEPT[grant.reuse],
        (b"cache-tag", ",".join(tags).encode()),
        (b"surrogate-key", " ".join(tags).encode()),
        *_GUARDS,
        _OWN if grant.reuse is Reuse.NEVER else _SHARED,
    ]
    if (location := _location(grant)) is not None:
        headers.append((b"content-location", location.encode()))
    if grant.variant is not None and grant.variant.negotiated:
        headers.append((b"vary", b"Accept"))
    return headers


def beside(headers: Headers, more: Headers) -> Headers:
    """Both, with one line of Vary where either has one."""
    varies = [value for name, value in (*headers, *more) if name == b"vary"]
    if len(varies) < 2:
        return [*headers, *more]
    return [*(line for line in (*headers, *more) if line[0] != b"vary"), (b"vary", b", ".join(varies))]


def whole(grant: Grant) -> Headers:
    """Headers of a 200, to GET and to HEAD."""
    content = grant.content
    return [*_describing(grant), *_body(content.media_type, content.size)]


def partial(grant: Grant, part: ByteRange) -> Headers:
    """Headers of a 206 with one range."""
    content = grant.content
    span = f"bytes {part.first}-{part.last}/{content.size}".encode()
    return [*_describing(grant), *_body(content.media_type, part.length), (b"content-range", span)]


def multipart(grant: Grant, boundary: str, size: int) -> Headers:
    """Headers of a 206 with several ranges, in a body of `size` bytes."""
    return [*_describing(grant), *_body(f"multipart/byteranges; boundary={boundary}", size)]


def unsatisfiable(size: int) -> Headers:
    """Return what a 416 adds to its problem: the size that ranges can be asked of."""
    return [(b"content-range", f"bytes */{size}".encode()), (b"accept-ranges", b"bytes")]


def refusing(problem: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Headers of every answer that carries no blob: a problem's own, kept by no cache."""
    ours = [(b"cache-control", b"no-store"), *_GUARDS, _SHARED]
    names = {name for name, _ in ours}
    return [*((name, value) for name, value in problem if name.lower() not in names), *ours]


def signed(seconds_left: float) -> tuple[bytes, bytes]:
    """Return how long the answer to a signed address may be kept, by its asker alone."""
    age = max(min(int(seconds_left), _SIGNED_MOST_SECONDS), 0)
    return (b"cache-control", f"private, max-age={age}, no-transform".encode())


def server_timing(db_seconds: float, storage_seconds: float, total_seconds: float) -> tuple[bytes, bytes]:
    """Return the Server-Timing line (W3C), in milliseconds."""
    named = {"db": db_seconds, "storage": storage_seconds, "total": total_seconds}
    return (b"server-timing", ", ".join(f"{name};dur={value * 1000:.2f}" for name, value in named.items()).encode())


def _describing(grant: Grant) -> Headers:
    digest = b64encode(bytes.fromhex(grant.content.sha256))
    filename = _given_name(grant) or _fallback_name(grant)
    headers = [
        *caching(grant),
        (b"accept-ranges", b"bytes"),
        (b"repr-digest", b"sha-256=:" + digest + b":"),
        (b"content-disposition", content_disposition(grant.content.media_type, filename).encode("ascii")),
    ]
    if (created_at := _created_at(grant)) is not None:
        headers.append((b"last-modified", format_http_date(created_at).encode()))
    return headers


def _created_at(grant: Grant) -> datetime | None:
    return grant.media.created_at if grant.media and grant.variant is None else None


def _tags(grant: Grant) -> list[str]:
    """What caches purge by: the bytes that are sent, what they were made of, by what, and the ref."""
    variant = grant.variant
    made_of = [] if variant is None else [f"blob-{variant.parent}", f"preset-{variant.preset}"]
    own = [f"ref-{grant.media.ref_id}"] if grant.media else []
    return list(dict.fromkeys([f"blob-{grant.content.sha256}", *made_of, *own]))


def _location(grant: Grant) -> str | None:
    """Where the same bytes are by their exact name, unless they were asked for by it."""
    if grant.variant is not None:
        return grant.variant.path if grant.media or grant.variant.negotiated else None
    return f"/blobs/{grant.content.sha256}" if grant.media else None


def _given_name(grant: Grant) -> str | None:
    """The ref's, with the extension of what is sent."""
    name = grant.media.filename if grant.media else None
    if name is None or grant.variant is None:
        return name
    return f"{PurePosixPath(name).stem}.{grant.variant.format.extension}"


def _fallback_name(grant: Grant) -> str | None:
    """What is saved has a name, if only that of its bytes; what is shown in place may do without."""
    return None if is_inline(grant.content.media_type) else grant.content.sha256


def _body(media_type: str, size: int) -> Headers:
    return [(b"content-type", media_type.encode("latin-1")), (b"content-length", str(size).encode())]
