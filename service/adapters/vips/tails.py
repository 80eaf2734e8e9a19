"""Does a file hold bytes behind the last pixel of a picture, where a decoder has stopped to read? Runs in the child.

A picture that still can be decoded when the end of its pixels is cut off did not need that end.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pyvips

from service.adapters.vips.jpeg_tables import PROGRESSIVE
from service.adapters.vips.stripping import jpeg_segments, webp_file, webp_frames

_WEBP_SLACK = 4
"""Bytes that decoders of WebP read ahead and encoders write for that, at most."""
_EOI = b"\xff\xd9"


def ends_with_its_picture(bare: bytes, media_type: str) -> bool:
    """Whether nothing is behind the pixels of a stripped file; of other types than JPEG and WebP it is not known."""
    if media_type == "image/jpeg":
        return _is_silent(bare) and (_has_many_scans(bare) or not _is_silent(_shortened(bare)))
    return media_type != "image/webp" or all(map(_needs_its_end, webp_frames(bare)))


def _is_silent(data: bytes) -> bool:
    """Whether libjpeg warns of nothing. libvips tells of a warning in the last lines when it closes the file alone."""
    with _told() as told:
        try:
            pyvips.Image.jpegload_buffer(data, access="sequential", fail_on="none").avg()
        except pyvips.Error:
            return False
    return not told


def _has_many_scans(data: bytes) -> bool:
    """Then libjpeg reads up to the end before it decodes, and warns of what is between and behind the scans."""
    return any(marker == PROGRESSIVE for marker, _ in jpeg_segments(data))


def _shortened(data: bytes) -> bytes:
    """Without the last byte of the last scan, which has at least a bit of the last pixels in it."""
    end = len(data) - len(_EOI)
    return data[: end - (2 if data[end - 2 : end] == b"\xff\0" else 1)] + _EOI


@contextmanager
def _told() -> Iterator[list[str]]:
    """What libvips says meanwhile."""
    told, logger = list[str](), logging.getLogger("pyvips")
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)


def _needs_its_end(frame: list[tuple[bytes, bytes]]) -> bool:
    """Whether none of a frame's chunks can be decoded without its last bytes."""
    return not any(_is_decoded(_cut(frame, number)) for number, (kind, _) in enumerate(frame) if kind != b"VP8X")


def _cut(frame: list[tuple[bytes, bytes]], number: int) -> bytes:
    return webp_file([(kind, each[:-_WEBP_SLACK] if at == number else each) for at, (kind, each) in enumerate(frame)])


def _is_decoded(data: bytes) -> bool:
    try:
        return bool(pyvips.Image.webpload_buffer(data, access="sequential").avg() >= 0)
    except pyvips.Error:
        return False
