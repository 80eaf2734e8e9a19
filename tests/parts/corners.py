"""Pictures as few cameras, but some programs, write them: each shows the card, and each is easy to show wrong."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import partial

import av
import pyvips
from av.video.stream import VideoStream

from tests.parts.pictures import BLUE, GREEN, RED, YELLOW, Colour, animation, card, chunk, saved, stored, with_profile

UPRIGHT: list[Colour] = [RED, GREEN, BLUE, YELLOW]
GREY: list[Colour] = [(value,) * 3 for value in (112, 138, 76, 208)]


def in_16_bits(image: pyvips.Image, interpretation: str = "rgb16") -> pyvips.Image:
    return (image.cast("ushort") * 257).cast("ushort").copy(interpretation=interpretation)


def png_with(kind: bytes, content: bytes, image: pyvips.Image | None = None) -> bytes:
    """A PNG with another chunk behind its header."""
    data = saved(image or card(), ".png", keep="none")
    return data[:33] + chunk(kind, content) + data[33:]


def png_with_a_key() -> bytes:
    """Transparent is whatever has one colour, which the card has not (PNG third edition §11.3.1.1)."""
    return png_with(b"tRNS", struct.pack(">HHH", 1, 2, 3))


def png_in_p3_by_code_points() -> bytes:
    """The card in P3, which nothing but its code points tells (ITU-T H.273): transfer of sRGB, all values."""
    data = saved(with_profile("p3"), ".png", keep="none")
    return data[:33] + chunk(b"cICP", bytes([12, 13, 0, 1])) + data[33:]


def png_with_a_gamma() -> bytes:
    """The card in light, not in steps that look alike; only gAMA tells."""
    linear = (card().colourspace("scrgb") * 255).round("rint").cast("uchar").copy(interpretation="srgb")
    return png_with(b"gAMA", struct.pack(">I", 100_000), linear)


def mislabelled_p3() -> bytes:
    """In P3, and its profile speaks of sRGB, whose curve it has."""
    image = with_profile("p3").copy()
    profile = image.get("icc-profile-data")
    at = profile.index(b"acsp")
    assert at == 36
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", _grown(profile, b"Wide gamut, curve of sRGB"))
    return saved(image, ".jpg", Q=95)


def _grown(profile: bytes, text: bytes) -> bytes:
    """The profile with a text behind it that no tag names."""
    text += b"\0" * (-len(text) % 4)
    return struct.pack(">I", len(profile) + len(text)) + profile[4:] + text


def oriented(image: pyvips.Image, orientation: int) -> pyvips.Image:
    image = image.copy()
    image.set_type(pyvips.GValue.gint_type, "orientation", orientation)
    return image


def oddly_turned(orientation: int) -> bytes:
    """Of an orientation that EXIF does not know."""
    data = saved(oriented(card(), 6), ".jpg")
    tag = bytes.fromhex("0112000300000001")
    little = bytes.fromhex("1201030001000000")
    if little in data:
        return data.replace(little + b"\x06\0", little + struct.pack("<H", orientation))
    assert tag in data
    return data.replace(tag + b"\0\x06", tag + struct.pack(">H", orientation))


def png_turned_by(orientation: int) -> bytes:
    """Turned by its eXIf chunk."""
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + struct.pack(">HH", orientation, 0) + bytes(4)
    return png_with(b"eXIf", exif, stored(orientation).copy())


Frame = tuple[int, int, int, int, int, int, bytes]
"""Left, top, width, height, disposal, delay in hundredths of a second, pixels."""


def gif(frames: list[Frame], clear: int | None = None) -> bytes:
    """A GIF of 96 × 64 in the four colours and white, shown four times."""
    colours = b"".join(bytes(each) for each in (RED, GREEN, BLUE, YELLOW, (255, 255, 255))) + bytes(9)
    out = b"GIF89a" + struct.pack("<HHBBB", 96, 64, 0xF2, 4, 0) + colours
    out += b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x03\x00\x00"
    for left, top, width, height, disposal, delay, pixels in frames:
        flags = disposal << 2 | (clear is not None)
        out += b"\x21\xf9\x04" + struct.pack("<BHB", flags, delay, clear or 0) + b"\0"
        out += b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\x03" + _uncompressed(pixels)
    return out + b";"


def _uncompressed(pixels: bytes) -> bytes:
    """LZW that clears its table before it grows: codes of four bits."""
    codes = [8]
    for number, pixel in enumerate(pixels):
        codes += [8] if number and number % 6 == 0 else []
        codes.append(pixel)
    codes.append(9)
    codes += [0] * (len(codes) % 2)
    data = bytes(low | high << 4 for low, high in zip(codes[::2], codes[1::2], strict=True))
    pieces = [data[at : at + 255] for at in range(0, len(data), 255)]
    return b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"


def _card_pixels(*, turned: bool = False) -> bytes:
    rows = [bytes([0]) * 48 + bytes([1]) * 48] * 32 + [bytes([2]) * 48 + bytes([3]) * 48] * 32
    pixels = b"".join(rows)
    return pixels[::-1] if turned else pixels


def gif_in_pieces() -> bytes:
    """Each frame draws a quarter over what stands there."""
    quarter = [(0, 0), (48, 0), (0, 32), (48, 32)]
    pieces = [(left, top, 48, 32, 1, 10, bytes([number]) * 48 * 32) for number, (left, top) in enumerate(quarter)]
    return gif([(0, 0, 96, 64, 1, 10, _card_pixels()), *pieces])


def gif_that_restores() -> bytes:
    """The second frame goes again: the third is to look like the first."""
    dot = (0, 0, 48, 32, 3, 10, bytes([4]) * 48 * 32)
    nothing = (0, 0, 1, 1, 1, 10, bytes([0]))
    return gif([(0, 0, 96, 64, 1, 10, _card_pixels()), dot, nothing])


def gif_without_delays() -> bytes:
    return gif([(0, 0, 96, 64, 1, 0, _card_pixels(turned=bool(n % 2))) for n in range(4)])


def clear_gif() -> bytes:
    """Its green quarter is transparent."""
    return gif([(0, 0, 96, 64, 1, 10, _card_pixels())], clear=1)


def film(
    codec: str,
    container: str,
    size: tuple[int, int] = (96, 64),
    *,
    pixels: str = "yuv420p",
    ratio: Fraction | None = None,
    told: Mapping[str, str] | None = None,
) -> bytes:
    """A film of a second that shows the card; `ratio` is that of its pixels, `told` goes into its metadata."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as muxer:
        stream = muxer.add_stream(codec, rate=25)
        assert isinstance(stream, VideoStream)
        (stream.width, stream.height), stream.pix_fmt = size, pixels
        if ratio is not None:
            stream.sample_aspect_ratio = ratio
        muxer.metadata.update(told or {})
        for _ in range(25):
            muxer.mux(stream.encode(_frame(size).reformat(format=pixels)))
        muxer.mux(stream.encode(None))
    return out.getvalue()


def _frame(size: tuple[int, int]) -> av.VideoFrame:
    frame, width = av.VideoFrame(*size, "rgb24"), 3 * size[0]
    data = bytes(card(*size).write_to_memory())
    plane = frame.planes[0]
    rows = (data[at : at + width] for at in range(0, len(data), width))
    plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))
    return frame


def turned_film() -> bytes:
    """Held upright: stored lying, its track's matrix turns it by 90° (ISO/IEC 14496-12 §8.3.2)."""
    data = bytearray(film("libx264", "mp4"))
    unit = bytes.fromhex("00010000 00000000 00000000 00000000 00010000 00000000 00000000 00000000 40000000")
    at = data.index(unit, data.index(b"tkhd"))
    data[at : at + 36] = bytes.fromhex(
        "00000000 00010000 00000000 ffff0000 00000000 00000000 00000000 00000000 40000000"
    )
    return bytes(data)


Case = tuple[Callable[[], bytes], str, list[Colour]]
"""How it is made, its type, and what its quarters show."""

PRINTED: list[Colour] = [(222, 46, 43), (42, 160, 57), (44, 70, 144), (230, 209, 35)]
"""What is left of the colours in a press."""

CORNERS: dict[str, Case] = {
    "png turned 6 by its exif": (partial(png_turned_by, 6), "image/png", UPRIGHT),
    "jpeg of orientation 0": (partial(oddly_turned, 0), "image/jpeg", UPRIGHT),
    "jpeg of orientation 9": (partial(oddly_turned, 9), "image/jpeg", UPRIGHT),
    "webp turned 3": (lambda: saved(stored(3), ".webp"), "image/webp", UPRIGHT),
    "avif turned 6": (lambda: saved(stored(6), ".avif", effort=0, Q=90), "image/avif", UPRIGHT),
    "ycck jpeg": (
        lambda: saved(with_profile("cmyk"), ".jpg", keep="none", subsample_mode="on"), "image/jpeg", PRINTED,
    ),
    "jpeg in p3 that speaks of srgb": (mislabelled_p3, "image/jpeg", UPRIGHT),
    "grey png with alpha": (lambda: saved(card().colourspace("b-w").addalpha(), ".png"), "image/png", GREY),
    "png of 16 bits with alpha": (lambda: saved(in_16_bits(card().addalpha()), ".png"), "image/png", UPRIGHT),
    "png of 16 bits in p3": (lambda: saved(in_16_bits(with_profile("p3")), ".png"), "image/png", UPRIGHT),
    "png with a colour that is clear": (png_with_a_key, "image/png", UPRIGHT),
    "png in p3 by code points": (png_in_p3_by_code_points, "image/png", UPRIGHT),
    "png with a gamma": (png_with_a_gamma, "image/png", UPRIGHT),
    "png of two bits": (lambda: saved(card(), ".png", palette=True, bitdepth=2), "image/png", UPRIGHT),
    "webp with alpha": (lambda: saved(card().addalpha(), ".webp", Q=95), "image/webp", UPRIGHT),
    "avif with alpha": (lambda: saved(card().addalpha(), ".avif", effort=0, Q=90), "image/avif", UPRIGHT),
    "avif of 12 bits": (
        lambda: saved(in_16_bits(card()), ".avif", effort=0, Q=90, bitdepth=12), "image/avif", UPRIGHT,
    ),
    "avif in p3": (lambda: saved(with_profile("p3"), ".avif", effort=0, Q=90), "image/avif", UPRIGHT),
    "avif without subsampling": (
        lambda: saved(card(), ".avif", effort=0, Q=90, subsample_mode="off"), "image/avif", UPRIGHT,
    ),
    "grey avif": (lambda: saved(card().colourspace("b-w"), ".avif", effort=0, Q=90), "image/avif", GREY),
    "gif in pieces": (gif_in_pieces, "image/gif", UPRIGHT),
    "gif that restores": (gif_that_restores, "image/gif", UPRIGHT),
    "gif without delays": (gif_without_delays, "image/gif", UPRIGHT),
    "animated webp with alpha": (
        lambda: saved(animation(width=96, height=64).addalpha(), ".webp", lossless=True), "image/webp", UPRIGHT,
    ),
    "film": (lambda: film("libx264", "mp4"), "video/mp4", UPRIGHT),
    "film of wide pixels": (
        lambda: film("libx264", "mp4", (48, 64), ratio=Fraction(2)), "video/mp4", UPRIGHT,
    ),
    "film held upright": (turned_film, "video/mp4", [BLUE, RED, YELLOW, GREEN]),
    "film of 10 bits": (lambda: film("libx264", "mp4", pixels="yuv420p10le"), "video/mp4", UPRIGHT),
    "film of odd edges": (lambda: film("libx264", "mp4", (97, 65), pixels="yuv444p"), "video/mp4", UPRIGHT),
    "vp9 film": (lambda: film("libvpx-vp9", "webm"), "video/webm", UPRIGHT),
}  # fmt: skip
