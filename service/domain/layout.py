"""From the size of a picture and the box of a preset to the sizes of what is made; exact arithmetic, no rounding drift.

Nothing is enlarged unless the preset says so, nothing has fewer than one pixel, and no edge exceeds the box.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from service.domain.rendition import Fit, Preset


@dataclass(frozen=True, slots=True)
class Size:
    """Pixels, at least one each way."""

    width: int
    height: int

    @property
    def longest(self) -> int:
        """The longer edge."""
        return max(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Layout:
    """Three steps: the picture is scaled to `scaled`, cut at its centre to `cut`, put at the centre of `canvas`."""

    scaled: Size
    cut: Size
    canvas: Size


def lay_out(picture: Size, preset: Preset) -> Layout:
    """How the preset meets a picture of this size, its orientation applied."""
    if preset.fit is Fit.COVER:
        return _cover(picture, _box(picture, preset), enlarge=preset.enlarge)
    scaled = _inside(picture, preset.width, preset.height, enlarge=preset.enlarge)
    canvas = _box(picture, preset) if preset.fit is Fit.CONTAIN else scaled
    return Layout(scaled, scaled, canvas)


def within(picture: Size, max_edge: int | None) -> Size:
    """The size of a picture whose longer edge is at most `max_edge`; its own where it is so already."""
    return _inside(picture, max_edge, max_edge, enlarge=False)


def _box(picture: Size, preset: Preset) -> Size:
    return Size(preset.width or picture.width, preset.height or picture.height)


def _cover(picture: Size, box: Size, *, enlarge: bool) -> Layout:
    """A box that the picture cannot fill is shrunk in its proportions, until it can."""
    room = min(Fraction(picture.width, box.width), Fraction(picture.height, box.height))
    cut = box if enlarge else _times(box, min(Fraction(1), room))
    scale = max(Fraction(cut.width, picture.width), Fraction(cut.height, picture.height))
    scaled = _times(picture, scale)
    scaled = Size(max(scaled.width, cut.width), max(scaled.height, cut.height))
    return Layout(scaled, cut, cut)


def _inside(picture: Size, width: int | None, height: int | None, *, enlarge: bool) -> Size:
    scales = [] if width is None else [Fraction(width, picture.width)]
    scales += [] if height is None else [Fraction(height, picture.height)]
    scales += [] if enlarge and scales else [Fraction(1)]
    return _times(picture, min(scales))


def _times(size: Size, scale: Fraction) -> Size:
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))
