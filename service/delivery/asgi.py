"""The ASGI types that delivery speaks, and what they say of a request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

# The keys of a scope and of a message are those of the ASGI specification (HTTP, version 2.3).
Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


def sends_files(scope: Scope) -> bool:
    """Whether the server offers to send whole files by their path (ASGI extension `http.response.pathsend`)."""
    return "http.response.pathsend" in (scope.get("extensions") or {})


def request_headers(scope: Scope) -> dict[str, str]:
    """Return the request's headers by lower-case name; lines of one name are joined by commas (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def accepted(scope: Scope) -> str | None:
    """Return what `request_headers` has under `accept`."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"]
    return ", ".join(lines) if lines else None
