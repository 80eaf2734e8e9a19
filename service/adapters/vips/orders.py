"""What is asked of a rendering child beside the picture, and what it answers; see `task`."""

from __future__ import annotations

from typing import Literal

import msgspec

from service.domain.blob import MediaInfo
from service.domain.placeholder import Placeholder
from service.domain.rendition import Format, Normalisation, Preset

Refusal = Literal["unreadable", "pixels", "bytes"]


class RenderOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A preset in one of its formats, in at most `max_bytes`."""

    preset: Preset
    format: Format
    max_bytes: int


class NormaliseOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a picture must comply with, in at most `max_bytes`."""

    normalisation: Normalisation
    max_bytes: int


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies in the sink now, `length` bytes; `media` None and no refusal when the picture complies as it is.

    A refusal for pixels states the picture's width and height, and the limit.
    """

    media: MediaInfo | None = None
    length: int = 0
    refusal: Refusal | None = None
    size: tuple[int, int] = (0, 0)
    max_pixels: int = 0


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A placeholder, or None where the picture cannot be read."""

    placeholder: Placeholder | None = None
    refusal: Refusal | None = None
    size: tuple[int, int] = (0, 0)
    max_pixels: int = 0


class SheetOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pictures of a contact sheet: for each the length of its file, and its captions, line by line."""

    tiles: list[list[str]]
