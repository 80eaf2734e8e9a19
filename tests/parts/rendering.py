"""A renderer of words: what must go from a picture is called GPS."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from service.domain.blob import MediaInfo
from service.domain.errors import RenderBusy, RenderFailed
from service.domain.placeholder import Placeholder
from service.domain.rendition import Format, Normalisation, Preset
from service.ports.renderer import Rendered

PLACEHOLDER = Placeholder("3OcRJYB4d3h/iIeHeEh3eIhw+j2w", "#a0b0c0", 1.5)
BARE = MediaInfo("image/png", 4, 3, readable=True)


@dataclass
class WordRenderer:
    """Takes every GPS out of what it normalises; `busy` and `broken` are what such bytes meet. `seen` counts calls."""

    engine: str = "words/1"
    seen: list[bytes] = field(default_factory=list)

    async def render(self, _path: Path, _media_type: str, preset: Preset, chosen: Format) -> Rendered:
        """The name of the preset, as a picture."""
        return Rendered(f"{chosen.media_type}\n{preset.name}".encode(), MediaInfo(chosen.media_type, 2, 1))

    async def normalise(self, path: Path, _media_type: str, _wanted: Normalisation) -> Rendered | None:
        """Without GPS; None where there is none."""
        content = path.read_bytes()
        self.seen.append(content)
        self._meet(content)
        return Rendered(content.replace(b"GPS", b""), BARE) if b"GPS" in content else None

    async def placeholder(self, path: Path, _media_type: str) -> Placeholder:
        """The same for all."""
        self._meet(path.read_bytes())
        return PLACEHOLDER

    async def warm(self) -> None:
        """Nothing to start."""

    async def aclose(self) -> None:
        """Nothing to stop."""

    def _meet(self, content: bytes) -> None:
        if b"busy" in content:
            raise RenderBusy
        if b"broken" in content:
            raise RenderFailed("image/png")
