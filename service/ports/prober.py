"""What are these bytes really? Proved by tests/contract/test_prober.py."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from service.domain.blob import MediaInfo


class Prober(Protocol):
    """Looks at bytes, never at what anyone claims about them."""

    async def probe(self, path: Path) -> MediaInfo:
        """Detect the media type from content and read what can be read, bounded in pixels, time and memory.

        Hostile, truncated or unknown bytes are an answer, never an error: `readable=False` where a media type is
        announced but cannot be decoded within time and memory, `application/octet-stream` where nothing is recognised.
        A picture of more pixels than the prober decodes has its dimensions and `readable=None`: nobody tried, and a
        policy that limits pixels refuses it for them. Raises `ProbeUnavailable` only when the probing process cannot
        be started at all.
        """

    def knows(self, media_type: str) -> bool:
        """Whether `probe` would recognise bytes of this type."""

    async def warm(self) -> None:
        """Start what the first `probe` needs, so that it does not pay for it. Idempotent."""

    async def aclose(self) -> None:
        """Stop the probing processes. Idempotent."""
