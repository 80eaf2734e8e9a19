"""`Sources`: each kind of place by its own adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.adapters.sources.data_urls import decode_data_url
from service.adapters.sources.files import FileSource
from service.adapters.sources.hosts import checked_url
from service.adapters.sources.web import WebSource
from service.domain.importing import Location, SourceKind
from service.ports.sources import OpenedSource


@dataclass(frozen=True, slots=True)
class AnySource:
    """See the port."""

    files: FileSource
    web: WebSource

    def vet(self, location: Location) -> None:
        """See the port: an address is held against the hosts that are allowed; a file is not looked at."""
        if location.kind is SourceKind.WEB:
            checked_url(location.text, self.web.allowed)

    @asynccontextmanager
    async def open(self, location: Location) -> AsyncIterator[OpenedSource]:
        """See the port."""
        match location.kind:
            case SourceKind.FILE:
                async with self.files.open(location.text) as opened:
                    yield opened
            case SourceKind.WEB:
                async with self.web.open(location.text) as opened:
                    yield opened
            case SourceKind.DATA:
                content = decode_data_url(location.text)
                yield OpenedSource(_once(content), len(content))


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
