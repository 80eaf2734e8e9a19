"""A prober whose answers have placeholders, too: whatever looks at bytes goes by it without knowing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from service.domain.blob import MediaInfo
from service.domain.errors import RefkeepError, StorageFull, StorageUnavailable
from service.domain.rendition import original_format
from service.ports.prober import Prober
from service.ports.renderer import Renderer


class IllustratingProber:
    """Answers as `prober` does; `renderer` makes the placeholders of pictures and films that can be read.

    Where it cannot, whatever the reason but a disk that fails, there is none: bytes are kept all the same, and the next
    look may find one.
    """

    def __init__(self, prober: Prober, renderer: Renderer) -> None:
        self._prober, self._renderer = prober, renderer

    async def probe(self, path: Path) -> MediaInfo:
        """Look at the bytes."""
        media = await self._prober.probe(path)
        if not media.readable or original_format(media.media_type) is None:
            return media
        try:
            return replace(media, placeholder=await self._renderer.placeholder(path, media.media_type))
        except (StorageFull, StorageUnavailable):
            raise
        except RefkeepError:
            return media

    def knows(self, media_type: str) -> bool:
        """Whether bytes of this type are recognised."""
        return self._prober.knows(media_type)

    async def warm(self) -> None:
        """Start what the first look needs."""
        await self._prober.warm()

    async def aclose(self) -> None:
        """Stop looking; the renderer is its owner's to stop."""
        await self._prober.aclose()
