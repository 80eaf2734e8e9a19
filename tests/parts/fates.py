"""What a relay does to writes: how often, and to which."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.parts.relay import RELAYED, Fate

GONE = Fate(taken_bytes=0)
"""The connection is reset, and nothing is relayed."""
_WRITES = (b"PUT ", b"POST ", b"DELETE ")


def writes(heads: list[bytes]) -> list[bytes]:
    """Those of the requests that change anything."""
    return [head for head in heads if head.startswith(_WRITES)]


def for_writes(*fates: Fate) -> Callable[[bytes], Fate]:
    """These for the next writes, one each; the last of them for all that follow, unless it is `RELAYED`."""
    left = list(fates)

    def decide(head: bytes) -> Fate:
        if not head.startswith(_WRITES):
            return RELAYED
        return left.pop(0) if len(left) > 1 else left[0]

    return decide


def header(head: bytes, name: str) -> str | None:
    """A header of a request's head."""
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def refusal(status: int, code: str, *, retryable: bool = False) -> Fate:
    """A problem document in the place of an answer."""
    document = {"status": status, "code": code, "title": "No", "detail": "Not this.", "retryable": retryable}
    return Fate(status=status, content=json.dumps(document).encode())
