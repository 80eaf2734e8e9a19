"""Bytes from the Internet: from hosts that were named, at addresses that are public, within bounds."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import aiohttp
from yarl import URL

from service.adapters.sources.hosts import AllowedHost, checked_url
from service.domain.addresses import is_public
from service.ports.sources import OpenedSource, SourceFailed, SourceRefused

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_MAX_REDIRECTS = 5
_HEADERS = {"accept": "*/*", "accept-encoding": "identity", "user-agent": "refkeep-import"}


@dataclass(slots=True)
class WebSource:
    """Fetches from `allowed` hosts alone. Close it.

    `total_seconds` is for one source from its first byte to its last, `silent_seconds` for a wait within. `reachable`
    says of an address whether it may be connected to: no command and no setting gives another than the one here, which
    is for those who build the object; as is `trust`, whose certificates are believed, None for the machine's.
    """

    allowed: tuple[AllowedHost, ...] = ()
    total_seconds: float = 300.0
    silent_seconds: float = 30.0
    reachable: Callable[[str], bool] = is_public
    trust: SSLContext | None = None
    _session: aiohttp.ClientSession | None = field(default=None, init=False)

    @asynccontextmanager
    async def open(self, text: str) -> AsyncIterator[OpenedSource]:
        """The bytes of an address, redirects followed as far as each may be fetched itself.

        Raises `SourceRefused`, `SourceFailed`.
        """
        try:
            response = await self._answer(checked_url(text, self.allowed))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SourceFailed(f"The fetch failed: {_word(error)}.", may_pass=True) from error
        try:
            yield OpenedSource(_blocks(response), response.content_length)
        finally:
            response.close()

    async def aclose(self) -> None:
        """Close what is open. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer(self, url: URL) -> aiohttp.ClientResponse:
        for _ in range(_MAX_REDIRECTS + 1):
            response = await self._opened().get(url, allow_redirects=False)
            if response.status not in _REDIRECTS:
                return _good(response)
            location = response.headers.get("location", "")
            response.release()
            url = self._next(url, location)
        raise SourceFailed(f"More than {_MAX_REDIRECTS} redirects.")

    def _next(self, url: URL, location: str) -> URL:
        if not location:
            raise SourceFailed("Redirected without a word where to.")
        try:
            following = checked_url(str(url.join(URL(location))), self.allowed)
        except SourceFailed as error:
            raise type(error)(f"Redirected: {error}") from error
        if url.scheme == "https" and following.scheme != "https":
            raise SourceRefused("Redirected from https to http.")
        return following

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(
                total=self.total_seconds, sock_connect=self.silent_seconds, sock_read=self.silent_seconds
            )
            # Every connection begins with a socket made here, for the very address that it goes to: names are resolved
            # once, before, and nothing is asked again in between. One after the other, so that a refusal is told.
            connector = aiohttp.TCPConnector(
                use_dns_cache=False,
                happy_eyeballs_delay=None,
                socket_factory=self._socket,
                limit=0,
                ssl=self.trust or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                headers=_HEADERS,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, type_, proto, _, place = address
        if not self.reachable(str(place[0])):
            raise SourceRefused("The host has an address that is not of the public Internet.")
        return socket.socket(family=family, type=type_, proto=proto)


def _good(response: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """The answer, if it has the bytes as they are."""
    if response.status != 200:
        response.close()
        raise SourceFailed(f"The host answers {response.status}.", may_pass=response.status in _PASSING)
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        response.close()
        raise SourceFailed("The host sends the bytes compressed, which it was not asked to.")
    return response


async def _blocks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for block in response.content.iter_any():
            yield block
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise SourceFailed(f"The fetch ended too early: {_word(error)}.", may_pass=True) from error


def _word(error: Any) -> str:
    """What happened, without the address: that may hold a signature."""
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host is not known"
    if isinstance(error, aiohttp.ClientSSLError):
        return "TLS did not agree, or the certificate is not the host's"
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "no connection"
    return type(error).__name__
