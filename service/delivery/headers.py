"""The response headers of delivery: pure, from what was granted to the lines that go out."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass

from service.delivery.access import Grant, Reuse
from service.delivery.asgi import Headers
from service.delivery.conditional import Validators
from service.delivery.disposition import content_disposition, is_inline
from service.delivery.httpdate import format_http_date
from service.delivery.ranges import ByteRange

_KEPT: dict[Reuse, Headers] = {
    Reuse.IMMUTABLE: [(b"cache-control", b"public, max-age=31536000, immutable, no-transform")],
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
    """Say what the bytes are recognised by; a blob's age is another workspace's secret, a ref's creation is not."""
    return Validators(f'"{grant.content.sha256}"', grant.media.created_at if grant.media else None)


def caching(grant: Grant) -> Headers:
    """Return what 200, 206 and 304 share: how the answer may be kept, found again and purged (RFC 9110 §15.4.5)."""
    sha256 = grant.content.sha256
    tags = [f"blob-{sha256}", *([f"ref-{grant.media.ref_id}"] if grant.media else [])]
    headers = [
        (b"etag", f'"{sha256}"'.encode()),
        *_KEPT[grant.reuse],
        (b"cache-tag", ",".join(tags).encode()),
        (b"surrogate-key", " ".join(tags).encode()),
        *_GUARDS,
        _OWN if grant.reuse is Reuse.NEVER else _SHARED,
    ]
    if grant.media:
        headers.append((b"content-location", f"/blobs/{sha256}".encode()))
    return headers


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
    filename = (grant.media.filename if grant.media else None) or _fallback_name(grant)
    headers = [
        *caching(grant),
        (b"accept-ranges", b"bytes"),
        (b"repr-digest", b"sha-256=:" + digest + b":"),
        (b"content-disposition", content_disposition(grant.content.media_type, filename).encode("ascii")),
    ]
    if grant.media:
        headers.append((b"last-modified", format_http_date(grant.media.created_at).encode()))
    return headers


def _fallback_name(grant: Grant) -> str | None:
    """What is saved has a name, if only that of its bytes; what is shown in place may do without."""
    return None if is_inline(grant.content.media_type) else grant.content.sha256


def _body(media_type: str, size: int) -> Headers:
    return [(b"content-type", media_type.encode("latin-1")), (b"content-length", str(size).encode())]
