"""Pictures, read by libvips. Runs in the child, where libvips may crash, hang or fill its memory.

What libvips 8.18 makes of files that are cut short: JPEG needs `fail_on`, WebP and AVIF refuse by themselves, PNG and
GIF need `endings` as well. A JPEG has no checksums: only libjpeg's warnings tell damage, but they also come with
photographs that some telephones write (libvips issue 2309), so the warnings that mean lost data are told apart.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyvips

from service.adapters.vips import endings
from service.domain.blob import MediaInfo

MAX_PIXELS = 200_000_000
"""Pixels over all frames that are decoded; a picture with more is known by its header alone.

At 20 to 80 ns each, by format, that many fit into the seconds that a task has.
"""

_LOADERS = {
    "image/jpeg": pyvips.Image.jpegload,
    "image/png": pyvips.Image.pngload,
    "image/apng": pyvips.Image.pngload,
    "image/webp": pyvips.Image.webpload,
    "image/gif": pyvips.Image.gifload,
    "image/avif": pyvips.Image.heifload,
}
_CLASSES = ("Jpeg", "Png", "Webp", "Nsgif", "Heif")
_ANIMATED = {"image/webp", "image/gif", "image/avif"}
WHOLE = {"image/png": endings.png_is_whole, "image/apng": endings.apng_is_whole, "image/gif": endings.gif_is_whole}
_LOST_DATA = ("premature end", "Premature end", "bad Huffman code", "bad arithmetic code", "instead of RST")


def trust_nothing() -> None:
    """Block every loader of libvips but the five that `read_image` calls, and remember no picture."""
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for loader in _CLASSES:
        pyvips.operation_block_set(f"VipsForeignLoad{loader}", False)
    pyvips.cache_set_max(0)


trust_nothing()


def read_image(path: Path, media_type: str) -> MediaInfo:
    """Return what the header says, and whether all frames decode to their end.

    `readable` stays None for a picture of more than `MAX_PIXELS` pixels: it was not tried.
    """
    found = MediaInfo(media_type)
    try:
        image = _open(path, media_type, "error")
        found = _described(image, path, media_type)
        if image.width * image.height > MAX_PIXELS:
            return found
        _decode(path, media_type)
    except pyvips.Error:
        return replace(found, readable=False)
    return replace(found, readable=_is_whole(path, media_type))


def _described(image: pyvips.Image, path: Path, media_type: str) -> MediaInfo:
    """What the header says: libvips has read no more, and lays the frames of an animation one above the other."""
    height, frames = image.get_page_height(), image.get_n_pages()
    if media_type == "image/apng":
        with path.open("rb") as file:
            frames = endings.apng_frames(file) or frames
    return MediaInfo(media_type, width=image.width, height=height, frames=frames)


def has_lost_data(error: pyvips.Error) -> bool:
    """Whether a warning of libjpeg means that pixels are missing."""
    return any(sign in str(error) for sign in _LOST_DATA)


def _decode(path: Path, media_type: str) -> None:
    """Read every pixel once, some lines at a time; raise `pyvips.Error` when they do not come."""
    if media_type != "image/jpeg":
        _open(path, media_type, "error").avg()
        return
    try:
        _open(path, media_type, "warning").avg()
    except pyvips.Error as error:
        if has_lost_data(error):
            raise
        _open(path, media_type, "error").avg()


def _open(path: Path, media_type: str, fail_on: str) -> pyvips.Image:
    pages = {"n": -1} if media_type in _ANIMATED else {}
    return _LOADERS[media_type](str(path), access="sequential", fail_on=fail_on, **pages)


def _is_whole(path: Path, media_type: str) -> bool:
    if media_type not in WHOLE:
        return True
    with path.open("rb") as file:
        return WHOLE[media_type](file)
