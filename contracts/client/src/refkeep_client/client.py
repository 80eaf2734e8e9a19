"""The client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from refkeep_client.blobs import Blobs
from refkeep_client.events import Events
from refkeep_client.media import Media
from refkeep_client.refs import Refs
from refkeep_client.retry import Retry
from refkeep_client.rules import Policies, Workspaces

TIMEOUT = httpx.Timeout(connect=5.0, read=30.0, write=30.0, pool=10.0)
"""Seconds without progress: until a connection stands, for a piece to arrive, to be taken, for a free connection."""

EventHooks = Mapping[str, Sequence[Callable[..., Awaitable[Any]]]]


@dataclass(frozen=True)
class Refkeep:
    """A workspace of a Refkeep service: `async with Refkeep(url, key=key) as refkeep: …`.

    `key` is one of `refkeep keys create`; it is never shown. `workspace` is needed by keys that are bound to all of
    them. `timeout` and `retry` are what calls use that bring none of their own. `transport` and `event_hooks` are those
    of httpx: instrumentation goes there; `headers` are sent with every request. One client serves any number of tasks of
    one event loop.
    """

    url: str
    key: str | None = field(default=None, repr=False, kw_only=True)
    workspace: str | None = field(default=None, kw_only=True)
    timeout: httpx.Timeout | float = field(default=TIMEOUT, kw_only=True)
    retry: Retry = field(default=Retry(), kw_only=True)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, kw_only=True)
    transport: httpx.AsyncBaseTransport | None = field(default=None, repr=False, kw_only=True)
    event_hooks: EventHooks | None = field(default=None, repr=False, kw_only=True)
    blobs: Blobs = field(init=False, repr=False)
    refs: Refs = field(init=False, repr=False)
    media: Media = field(init=False, repr=False)
    events: Events = field(init=False, repr=False)
    policies: Policies = field(init=False, repr=False)
    workspaces: Workspaces = field(init=False, repr=False)

    async def aclose(self) -> None:
        """Close all connections; what `async with` does at its end."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
