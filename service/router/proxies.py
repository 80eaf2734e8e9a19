"""Requests that came through trusted proxies, as their clients sent them."""

from __future__ import annotations

from collections.abc import Sequence

from service.router.forwarded import Hop, Network, told_by_proxies
from service.router.gateway import App, Receive, Scope, Send


def behind_proxies(app: App, trusted: Sequence[Network]) -> App:
    """`app`, whose scopes tell of client, scheme and host what trusted proxies say; as it is where none is trusted."""
    if not trusted:
        return app

    async def seen_through(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("client"):
            scope = _as_sent(scope, told_by_proxies(scope["client"][0], scope["headers"], trusted))
        await app(scope, receive, send)

    return seen_through


def _as_sent(scope: Scope, told: Hop) -> Scope:
    scope = {**scope, "scheme": told.scheme or scope["scheme"]}
    if told.sender is not None:
        scope["client"] = (str(told.sender), 0)  # ASGI wants a port; a proxy's own would be another connection's
    if told.host is not None:
        others = [header for header in scope["headers"] if header[0] != b"host"]
        scope["headers"] = [(b"host", told.host.encode()), *others]
    return scope
