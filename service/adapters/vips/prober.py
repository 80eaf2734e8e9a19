"""The prober: media type from the beginning of the bytes, the rest from a child that may die."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import anyio.to_thread
import filetype  # type: ignore[import-untyped]  # no stubs are published

from service.adapters.vips.lane import Bounds, ChildLost, Lane
from service.adapters.vips.sniff import HEAD_BYTES, sniff
from service.domain.blob import MediaInfo

_IMAGE, _VIDEO = "service.adapters.vips.decode:read_image", "service.adapters.vips.video:read_video"

READERS = {f"image/{name}": _IMAGE for name in ("jpeg", "png", "apng", "webp", "gif", "avif")}
READERS |= {f"video/{name}": _VIDEO for name in ("mp4", "quicktime", "3gpp", "webm", "matroska", "ogg")}
READERS |= {f"audio/{name}": _VIDEO for name in ("mp4", "mpeg", "wav", "flac", "ogg")}

_NAMED_ONLY = frozenset(
    {"image/jpg", "image/bmp", "image/tiff", "image/heic", "image/svg+xml", "image/x-icon", "image/vnd.microsoft.icon"}
)
"""Recognised, never decoded; and the name that many give to image/jpeg."""


def recognised_types() -> frozenset[str]:
    """Every type of picture, video and sound that is ever found in bytes: what a policy may name."""
    names = frozenset(READERS) | (_NAMED_ONLY - {"image/jpg", "image/x-icon"})
    return names | {kind.mime for kind in filetype.TYPES}


class VipsProber:
    """A `Prober` on libvips and, where the extra `video` is installed, FFmpeg."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._lane = Lane(bounds)
        self._readers = dict(READERS)
        if find_spec("av") is None:
            self._readers = {name: reader for name, reader in READERS.items() if reader != _VIDEO}

    async def probe(self, path: Path) -> MediaInfo:
        """See `Prober.probe`; `path` is a local file."""
        media_type = sniff(await anyio.to_thread.run_sync(_head_of, path))
        reader = self._readers.get(media_type)
        if reader is None:
            return MediaInfo(media_type)
        try:
            found = await self._lane.run(reader, path, media_type)
        except ChildLost:
            return MediaInfo(media_type, readable=False)
        return found if _is_possible(found, media_type) else MediaInfo(media_type, readable=False)

    def knows(self, media_type: str) -> bool:
        """See `Prober.knows`."""
        return media_type in READERS or media_type in _NAMED_ONLY

    async def warm(self) -> None:
        """See `Prober.warm`."""
        await self._lane.warm()

    async def aclose(self) -> None:
        """See `Prober.aclose`."""
        await self._lane.aclose()


def _is_possible(found: MediaInfo, media_type: str) -> bool:
    """Whether the numbers are of this world: a file may claim any, and a child that was taken over may say anything."""
    counts = [number for number in (found.width, found.height, found.frames) if number is not None]
    in_range = all(0 < number < 1 << 31 for number in counts) and 0 <= (found.duration_ms or 0) < 1 << 53
    return in_range and found.media_type in {media_type, media_type.replace("video/", "audio/")}


def _head_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
