"""The bytes of small blobs, remembered for as long as they are asked for."""

from __future__ import annotations

from collections import OrderedDict

SMALL = 64 * 1024
"""Blobs of up to so many bytes are remembered whole."""

_MOST_BYTES = 64 * 1024 * 1024


class SmallBodies:
    """Bytes by storage key, 64 MiB of those asked for last: a key is never used for other bytes."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The bytes, if they are at hand."""
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def add(self, key: str, body: bytes) -> None:
        """Remember the whole bytes of an object."""
        if key in self._bodies:
            return
        self._bodies[key] = body
        self._bytes += len(body)
        while self._bytes > self._most_bytes:
            _, oldest = self._bodies.popitem(last=False)
            self._bytes -= len(oldest)
