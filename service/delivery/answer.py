"""Requests and answers as delivery's endpoint sees them, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import quote

from service.delivery.asgi import Headers, Scope, request_headers
from service.delivery.ranges import ByteRange
from service.delivery.routes import PresetRoute, Route
from service.ports.storage import ByteStream

_PATH = "/%:@!$&'()*+,;=-._~"


@dataclass(slots=True)
class Timing:
    """When a request began, and the seconds it spent with database and store before its answer began."""

    started: float = field(default_factory=perf_counter)
    db: float = 0.0
    storage: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request for bytes, as far as delivery cares; `headers` by lower-case name."""

    route: Route
    request_id: str
    method: str
    sent_path: bytes
    query: str
    headers: dict[str, str]
    timing: Timing = field(default_factory=Timing)

    @classmethod
    def of(cls, scope: Scope, route: Route, request_id: str) -> Request:
        """Read what delivery needs from `scope`."""
        sent_path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"].decode("latin-1")
        return cls(route, request_id, scope["method"], sent_path, query, request_headers(scope))

    @property
    def path(self) -> str:
        """The path as it was sent, fit for a problem document."""
        return quote(self.sent_path, safe=_PATH)

    @property
    def signed_path(self) -> str:
        """The path that the address was signed with: that of the file, for its renditions as well."""
        path = self.sent_path.decode("latin-1")
        return path.rpartition("/")[0] if isinstance(self.route, PresetRoute) else path


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its body is at hand, or a stream that its sender closes.

    `ranges` are those that are served, `cache_hit` says that no store was asked for them; `fault` is the exception that
    this answer tells of, None where there was none.
    """

    status: int
    headers: Headers
    body: bytes | ByteStream = b""
    ranges: tuple[ByteRange, ...] = ()
    cache_hit: bool = False
    fault: Exception | None = None
