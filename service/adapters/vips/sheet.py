"""Contact sheets: many small pictures in one, with their captions. Runs in a sealed child; see `sheets`."""

from __future__ import annotations

import os

import msgspec
import pyvips

from service.adapters.vips.decode import trust_nothing
from service.adapters.vips.lettering import lettered
from service.adapters.vips.orders import Drawn, SheetOrder
from service.domain.blob import MediaInfo

trust_nothing()

_TILE, _MARGIN, _ACROSS = 300, 12, 4
_BEHIND = [238, 238, 238]
"""A light grey, on which margins and what is transparent can be told from white."""


def draw_sheet(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:  # noqa: ARG001 - a task's form
    """Put a PNG into `sink`, of the files that stand one behind the other in `source`."""
    tiles, at = [], 0
    for length, *captions in msgspec.json.decode(order, type=SheetOrder).tiles:
        tiles.append(_tile(os.pread(source, int(length), at), captions))
        at += int(length)
    sheet = pyvips.Image.arrayjoin(tiles, across=min(_ACROSS, len(tiles)), shim=_MARGIN, background=[255, 255, 255])
    size = (sheet.width + 2 * _MARGIN, sheet.height + 2 * _MARGIN)
    framed = sheet.embed(_MARGIN, _MARGIN, *size, extend="white")
    content = framed.pngsave_buffer(keep="none")
    os.write(sink, content)
    return Drawn(MediaInfo("image/png", *size, 1, readable=True), len(content))


def _tile(content: bytes, captions: list[str]) -> pyvips.Image:
    picture = pyvips.Image.thumbnail_buffer(content, _TILE, height=_TILE, size="down").colourspace("srgb")
    if picture.hasalpha():
        picture = picture.flatten(background=_BEHIND)
    picture = picture.gravity("centre", _TILE, _TILE, extend="background", background=_BEHIND)
    for caption in captions:
        line = lettered(caption, _TILE)
        picture = picture.join(line.bandjoin([line, line]), "vertical", shim=3, background=[255, 255, 255], expand=True)
    return picture.cast("uchar").copy(interpretation="srgb")
