"""Which hosts an import may fetch from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from yarl import URL

from service.ports.sources import SourceFailed, SourceRefused

_PATTERN = re.compile(
    r"(\*\.)?([a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*)(?::([0-9]{1,5}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """A host, or with `any_below` every host below it but not itself; on `port`, or on the scheme's own where None."""

    name: str
    any_below: bool
    port: int | None

    def covers(self, url: URL) -> bool:
        """Whether a URL is on it."""
        host = (url.host_subcomponent or "").strip("[]").rstrip(".").lower()
        port = self.port or _DEFAULT_PORTS[url.scheme]
        return url.port == port and (host.endswith(f".{self.name}") if self.any_below else host == self.name)


def parse_allowed_host(text: str) -> AllowedHost:
    """`example.org`, `*.example.org`, `10.0.0.1`, with `:port` unless it is 80 or 443; `ValueError` otherwise."""
    form = _PATTERN.fullmatch(text.lower().rstrip("."))
    if form is None or int(form[3] or 1) not in range(1, 65536):
        raise ValueError(text)
    return AllowedHost(form[2], form[1] is not None, None if form[3] is None else int(form[3]))


def checked_url(text: str, allowed: tuple[AllowedHost, ...]) -> URL:
    """The URL, if it may be fetched. Raises `SourceFailed` for what is none, `SourceRefused` for what may not."""
    try:
        url = URL(text)
        host, port = url.host, url.port
    except ValueError as error:
        raise SourceFailed("This is no URL.") from error
    if url.scheme not in _DEFAULT_PORTS:
        raise SourceRefused("Only http and https are fetched.")
    if not host or port is None:
        raise SourceFailed("This URL has no host.")
    if url.user is not None or url.password is not None:
        raise SourceRefused("A URL with a name or a password in it is not fetched.")
    if not any(each.covers(url) for each in allowed):
        raise SourceRefused(f"The host {host[:100]} is not allowed: name it with --allow-host.")
    return url.with_fragment(None)
