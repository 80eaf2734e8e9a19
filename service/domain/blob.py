"""Blobs: immutable bytes named by their SHA-256, and what was found when they were looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import NewType

from service.domain.errors import BadHash
from service.domain.placeholder import Placeholder

Sha256 = NewType("Sha256", str)
"""64 lower-case hexadecimal digits."""

UNRECOGNISED = "application/octet-stream"
"""The media type of bytes that say nothing of themselves."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


def parse_sha256(text: str) -> Sha256:
    """Return `text` as a hash; raise `BadHash` unless it is 64 lower-case hexadecimal digits."""
    if _SHA256.fullmatch(text) is None:
        raise BadHash(text)
    return Sha256(text)


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the bytes turned out to be, whatever their sender claimed.

    `width` and `height` are pixels as stored (before any orientation tag), `frames` counts the pictures of an
    animation (1 for a still), `duration_ms` is milliseconds of video or audio; each is None where it does not apply
    or could not be read. `readable` is False when the bytes announce a media type but cannot be decoded to their end,
    None for types that nobody here decodes and for pictures too large to try. `placeholder` is None where there is
    nothing to see, or where it could not be made.
    """

    media_type: str
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    duration_ms: int | None = None
    readable: bool | None = None
    placeholder: Placeholder | None = None

    @property
    def pixels(self) -> int | None:
        """Pixels of one frame, None where the dimensions are unknown."""
        return None if self.width is None or self.height is None else self.width * self.height


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that can be served: `size` in bytes, `created_at` in UTC with milliseconds."""

    sha256: Sha256
    size: int
    media: MediaInfo
    created_at: datetime
