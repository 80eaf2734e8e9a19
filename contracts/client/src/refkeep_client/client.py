"""The client."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Self, Unpack

import httpx

from refkeep_client.blobs import Blobs
from refkeep_client.events import Events
from refkeep_client.media import Media
from refkeep_client.options import ClientOptions
from refkeep_client.refs import Refs
from refkeep_client.retry import Retry
from refkeep_client.rules import Policies, Workspaces
from refkeep_client.sending import Sender
from refkeep_client.texts import checked_base, checked_key, checked_slug

TIMEOUT = httpx.Timeout(connect=5.0, read=30.0, write=30.0, pool=10.0)
"""Seconds without progress: until a connection stands, for a piece to arrive, to be taken, for a free connection."""

_AGENT = "refkeep-client"


def _trust(url: str, given: ssl.SSLContext | None) -> ssl.SSLContext | bool:
    """Whom to trust; nobody where nothing is encrypted, which is quicker than to load who is."""
    if given is not None:
        return given
    return True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class Refkeep:
    """A workspace of a Refkeep service: `async with Refkeep(url, key=key) as refkeep: …`.

    `key` is one of `refkeep keys create`; it is never shown, None is anyone. `workspace` is needed by keys that are
    bound to all of them. One client serves any number of tasks of one event loop.
    """

    blobs: Blobs
    refs: Refs
    media: Media
    events: Events
    policies: Policies
    workspaces: Workspaces

    def __init__(
        self, url: str, *, key: str | None = None, workspace: str | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        headers = httpx.Headers({"user-agent": _AGENT, **_lowered(options.get("headers", {}))})
        if key is not None:
            headers["authorization"] = f"Bearer {checked_key(key)}"
        if workspace is not None:
            headers["workspace"] = checked_slug(workspace)
        self.url = checked_base(url)
        self.workspace = workspace
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=options.get("timeout", TIMEOUT),
            transport=options.get("transport"),
            verify=_trust(self.url, options.get("verify")),
            event_hooks={name: list(hooks) for name, hooks in options.get("event_hooks", {}).items()},
        )
        sender = Sender(self._http, options.get("retry", Retry()))
        self.blobs, self.refs, self.media = Blobs(sender), Refs(sender), Media(sender)
        self.events, self.policies, self.workspaces = Events(sender), Policies(sender), Workspaces(sender)

    def __repr__(self) -> str:
        return f"Refkeep({self.url!r}, workspace={self.workspace!r})"

    async def aclose(self) -> None:
        """Close all connections; what `async with` does at its end."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
