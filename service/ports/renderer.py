"""Pictures made of pictures. Proved by tests/contract/test_renderer.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.domain.blob import MediaInfo
from service.domain.placeholder import Placeholder
from service.domain.rendition import Format, Normalisation, Preset


@dataclass(frozen=True, slots=True)
class Rendered:
    """A file that was made here: whole, of at most as many bytes as the renderer is allowed, and what it is.

    `media.width` and `media.height` are upright, `media.frames` counts what is left of an animation.
    """

    content: bytes
    media: MediaInfo


class Renderer(Protocol):
    """Makes pictures of local files that anyone may have sent; nothing outside of the answer shows that it worked.

    Same bytes, same preset or normalisation, same `engine`: same answer, byte for byte, in every process. What is made
    holds pixels alone: no metadata, no other file, nothing that follows the picture.

    All calls are bounded in time, memory, pixels and bytes, and leave the event loop alone. A cancelled one stops its
    work. Each may raise, besides what it says itself:
    `UnreadableMedia` for bytes that are no picture of this type, break off, or are of a type nothing is made of;
    `DimensionsExceeded` for more pixels than are decoded, by the header alone;
    `RenderFailed` when it took too much time, memory or bytes, or broke what decodes: a retry would do no better;
    `RenderBusy` from `render` when as much waits as may wait: at once, and a retry may succeed. The others, which come
    with an upload or an attach, wait for their turn;
    `ProbeUnavailable` when no process can be started to do it; `StorageFull` and `StorageUnavailable` when the file
    cannot be opened.
    """

    @property
    def engine(self) -> str:
        """Names what decides over the bytes that come out: goes into `Preset.definition`."""

    async def render(self, path: Path, media_type: str, preset: Preset, chosen: Format) -> Rendered:
        """Make the preset in this format, never `ORIGINAL`; of a film, of an early frame of it.

        Upright, in sRGB with 8 bits, as `layout.lay_out` says. An animation stays one where the format and the preset
        admit it, else it gives its first frame. What is transparent is white in a JPEG.
        """

    async def normalise(self, path: Path, media_type: str, wanted: Normalisation) -> Rendered | None:
        """Make the picture comply; None when it does as it is, byte for byte.

        Pixels are encoded anew only where one of them must change (orientation, size, colour, format, frames); what
        only has metadata to lose keeps the rest of its bytes.
        """

    async def placeholder(self, path: Path, media_type: str) -> Placeholder:
        """What stands in the place of a picture, or of a film's poster, while it loads."""

    async def warm(self) -> None:
        """Start what the first call needs, so that it does not pay for it. Idempotent."""

    async def aclose(self) -> None:
        """Stop the rendering processes. Idempotent."""
