"""What becomes of requests that pass a relay, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from tests.parts.relay import RELAYED, Fate


def in_turn(*fates: Fate) -> Callable[[bytes], Fate]:
    """One fate for each request; those that come after the last are relayed."""
    left = iter(fates)
    return lambda _: next(left, RELAYED)


def methods(heads: list[bytes]) -> list[str]:
    """The methods of the requests that a relay saw."""
    return [head.split(b" ", 1)[0].decode() for head in heads]


def field(head: bytes, name: str) -> str | None:
    """A header of a request."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        found, _, value = line.partition(":")
        if found.strip().lower() == name.lower():
            return value.strip()
    return None
