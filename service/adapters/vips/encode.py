"""Pixels into files: the same pixels and settings give the same bytes, in every process. Runs in the child."""

from __future__ import annotations

from dataclasses import dataclass

import pyvips

from service.domain.rendition import Format

_THOROUGH = 5
"""The effort from which on a JPEG gets what mozjpeg can do: progressive scans, trellis quantisation."""


@dataclass(frozen=True, slots=True)
class Settings:
    """`quality` 1 to 100, None for formats without one; `effort` 0 to 9; `keep` is what libvips is to keep."""

    format: Format
    quality: int | None
    effort: int
    keep: str = "none"


def encode(image: pyvips.Image, settings: Settings) -> bytes:
    """The file; of what is transparent a JPEG shows white behind it."""
    if image.hasalpha() and not settings.format.has_alpha:
        image = image.flatten(background=[255, 255, 255])
    save, options = _SAVERS[settings.format](settings)
    return bytes(getattr(image, save)(keep=settings.keep, **options))


Saver = tuple[str, dict[str, object]]


def _jpeg(settings: Settings) -> Saver:
    options: dict[str, object] = {"Q": settings.quality, "optimize_coding": True}
    if settings.effort >= _THOROUGH:
        options |= {"interlace": True, "trellis_quant": True, "overshoot_deringing": True, "optimize_scans": True}
    return "jpegsave_buffer", options


def _webp(settings: Settings) -> Saver:
    return "webpsave_buffer", {"Q": settings.quality, "effort": round(settings.effort * 6 / 9)}


def _avif(settings: Settings) -> Saver:
    """Each step of libaom costs about twice the time and saves a few per cent: the usual effort is its second one."""
    effort = max(0, settings.effort - 3)
    return "heifsave_buffer", {"Q": settings.quality, "effort": effort, "compression": "av1", "bitdepth": 8}


def _png(settings: Settings) -> Saver:
    return "pngsave_buffer", {"compression": max(1, settings.effort), "filter": "all"}


def _gif(settings: Settings) -> Saver:
    return "gifsave_buffer", {"effort": settings.effort + 1}


_SAVERS = {Format.JPEG: _jpeg, Format.WEBP: _webp, Format.AVIF: _avif, Format.PNG: _png, Format.GIF: _gif}
