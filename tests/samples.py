"""Sample media, made here and now: each function returns the bytes of one file, the same object at every call."""

from __future__ import annotations

import gzip
import io
import random
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from typing import Literal

import av
import pyvips
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

_WIDTH, _HEIGHT = 96, 64


def _noise(width: int, height: int, seed: int = 1) -> pyvips.Image:
    """Coloured noise on a slope: compresses like a photograph, not like a drawing."""
    grey = pyvips.Image.gaussnoise(width, height, mean=128, sigma=25, seed=seed)
    bands = [grey, grey.gaussblur(1.5), grey.gaussblur(3) + 10]
    return bands[0].bandjoin(bands[1:]).cast("uchar").copy(interpretation="srgb")


def _frames(count: int = 4) -> pyvips.Image:
    pages = [_noise(32, 24, seed) for seed in range(count)]
    strip = pyvips.Image.arrayjoin(pages, across=1).copy(interpretation="srgb")
    strip.set_type(pyvips.GValue.gint_type, "page-height", 24)
    return strip


@cache
def jpeg(width: int = _WIDTH, height: int = _HEIGHT) -> bytes:
    """A baseline JPEG."""
    return bytes(_noise(width, height).jpegsave_buffer(Q=85))


@cache
def progressive_jpeg() -> bytes:
    """A progressive JPEG, 96 × 64."""
    return bytes(_noise(_WIDTH, _HEIGHT).jpegsave_buffer(Q=85, interlace=True))


@cache
def photograph(width: int = 1600, height: int = 1200) -> bytes:
    """A JPEG as from a telephone held upright: stored lying, EXIF orientation 6."""
    image = _noise(width, height)
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    return bytes(image.jpegsave_buffer(Q=85))


@cache
def png(width: int = _WIDTH, height: int = _HEIGHT) -> bytes:
    """A PNG with 8 bits and three bands."""
    return bytes(_noise(width, height).pngsave_buffer())


@cache
def interlaced_png() -> bytes:
    """An Adam7 PNG, 96 × 64."""
    return bytes(_noise(_WIDTH, _HEIGHT).pngsave_buffer(interlace=True))


@cache
def apng(claimed_frames: int = 3) -> bytes:
    """An animated PNG of 3 frames, 16 × 16, put together chunk by chunk; it may claim another number."""
    header = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    chunks = [_chunk(b"IHDR", header), _chunk(b"acTL", struct.pack(">II", claimed_frames, 0))]
    for frame in range(3):
        pixels = zlib.compress(b"".join(b"\0" + bytes([80 * frame + row] * 16) for row in range(16)))
        number = 2 * frame - 1 if frame else 0
        chunks.append(_chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, 16, 16, 0, 0, 1, 10, 0, 0)))
        chunks.append(_chunk(b"fdAT", struct.pack(">I", number + 1) + pixels) if frame else _chunk(b"IDAT", pixels))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


@cache
def webp() -> bytes:
    """A lossy WebP, 96 × 64."""
    return bytes(_noise(_WIDTH, _HEIGHT).webpsave_buffer(Q=80))


@cache
def animated_webp() -> bytes:
    """A WebP of 4 frames, 32 × 24."""
    return bytes(_frames().webpsave_buffer(lossless=True))


@cache
def gif() -> bytes:
    """A GIF of one frame, 96 × 64."""
    return bytes(_noise(_WIDTH, _HEIGHT).gifsave_buffer())


@cache
def animated_gif() -> bytes:
    """A GIF of 4 frames, 32 × 24."""
    return bytes(_frames().gifsave_buffer())


@cache
def avif() -> bytes:
    """An AVIF, 96 × 64."""
    return bytes(_noise(_WIDTH, _HEIGHT).heifsave_buffer(compression="av1", effort=0, Q=60))


@cache
def tiff() -> bytes:
    """A TIFF, 96 × 64."""
    return bytes(_noise(_WIDTH, _HEIGHT).tiffsave_buffer())


@cache
def heic() -> bytes:
    """The beginning of a HEIC: nothing here writes or reads one."""
    return _ftyp(b"heic", b"mif1", b"heic") + bytes(64)


@cache
def bmp() -> bytes:
    """A BMP of one red pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + header + b"\0\0\xff\0"


@cache
def ico() -> bytes:
    """An icon that holds one PNG."""
    picture = png(16, 16)
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 24, len(picture), 22) + picture


@cache
def mp4() -> bytes:
    """H.264 in MP4, 64 × 48, one second."""
    return _film("mp4", "libx264")


@cache
def quicktime() -> bytes:
    """H.264 in QuickTime, 64 × 48, one second."""
    return _film("mov", "libx264")


@cache
def webm() -> bytes:
    """VP8 in WebM, 64 × 48, one second."""
    return _film("webm", "libvpx")


@cache
def matroska() -> bytes:
    """VP8 in Matroska, 64 × 48, one second."""
    return _film("matroska", "libvpx")


@cache
def mp3() -> bytes:
    """One second of noise as MP3, with its ID3 tag."""
    return _sound("mp3", "libmp3lame")


@cache
def m4a() -> bytes:
    """One second of noise as AAC in MP4: sound alone, in a container that says `isom`."""
    return _sound("mp4", "aac")


@cache
def ogg() -> bytes:
    """One second of noise as Opus in Ogg."""
    return _sound("ogg", "libopus")


@cache
def flac() -> bytes:
    """One second of noise as FLAC."""
    return _sound("flac", "flac")


@cache
def wav() -> bytes:
    """One second of noise as WAV."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(_samples())
    return out.getvalue()


@cache
def text() -> bytes:
    """Plain UTF-8 text with more than ASCII in it."""
    return ("Grüße aus der Bücherei: 本 📚\n" * 40).encode()


@cache
def html_named_jpg() -> bytes:
    """HTML that somebody calls `cat.jpg`."""
    return b"\xef\xbb\xbf\n  <!-- a cat -->\n<HTML><body><script>alert(document.domain)</script></body></HTML>"


@cache
def svg() -> bytes:
    """An SVG that tries to read a file and to run a script."""
    return (
        b'<?xml version="1.0"?>\n<!DOCTYPE svg [<!ENTITY secret SYSTEM "file:///etc/passwd">]>\n'
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><text>&secret;</text>'
        b"<script>alert(1)</script></svg>"
    )


@cache
def xml() -> bytes:
    """XML that is neither SVG nor XHTML."""
    return b'<?xml version="1.0" encoding="UTF-8"?>\n<library><book id="42"/></library>'


@cache
def pdf() -> bytes:
    """The beginning and the end of a PDF."""
    return b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


@cache
def zip_archive() -> bytes:
    """A ZIP of one text file."""
    return _zip({"a.txt": "a"})


@cache
def docx() -> bytes:
    """The parts by which a Word file is known."""
    return _zip({"[Content_Types].xml": "<Types/>", "_rels/.rels": "<a/>", "word/document.xml": "<b/>"})


@cache
def xlsx() -> bytes:
    """The parts by which an Excel file is known."""
    return _zip({"[Content_Types].xml": "<Types/>", "_rels/.rels": "<a/>", "xl/workbook.xml": "<b/>"})


@cache
def epub() -> bytes:
    """The part by which an e-book is known."""
    return _zip({"mimetype": "application/epub+zip", "META-INF/container.xml": "<a/>"})


@cache
def gzipped() -> bytes:
    """Text, gzipped."""
    return gzip.compress(text(), mtime=0)


@cache
def binary() -> bytes:
    """Bytes that are nothing."""
    return bytes(range(256)) * 4


@cache
def png_bomb(edge: int = 50_000) -> bytes:
    """A black square of `edge` × `edge` pixels, valid to its end: 2.5 gigapixels in 303 kB."""
    size = edge * ((edge + 7) // 8 + 1)
    pieces, rest = divmod(size, 1 << 23)
    compressor = zlib.compressobj(9, wbits=-15)
    piece = compressor.compress(bytes(1 << 23)) + compressor.flush(zlib.Z_FULL_FLUSH)
    tail = zlib.compressobj(9, wbits=-15)
    adler = (size % 65_521) << 16 | 1  # of `size` zeros
    deflated = b"\x78\xda" + piece * pieces + tail.compress(bytes(rest)) + tail.flush() + adler.to_bytes(4, "big")
    header = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", deflated) + _chunk(b"IEND", b"")


@cache
def gif_bomb() -> bytes:
    """A GIF whose screen and only frame claim 65,535 × 65,535 pixels."""
    screen = struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x4c\x01\0;"


@cache
def jpeg_bomb() -> bytes:
    """A JPEG whose frame header claims 65,000 × 65,000 pixels."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_000, 65_000)
    return bytes(data)


def truncated(data: bytes, share: float = 0.5) -> bytes:
    """The first part of `data`: a transfer that broke off."""
    return data[: int(len(data) * share)]


PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "jpeg": (jpeg, "image/jpeg"),
    "progressive_jpeg": (progressive_jpeg, "image/jpeg"),
    "png": (png, "image/png"),
    "interlaced_png": (interlaced_png, "image/png"),
    "apng": (apng, "image/apng"),
    "webp": (webp, "image/webp"),
    "animated_webp": (animated_webp, "image/webp"),
    "gif": (gif, "image/gif"),
    "animated_gif": (animated_gif, "image/gif"),
    "avif": (avif, "image/avif"),
}
FILMS: dict[str, tuple[Callable[[], bytes], str]] = {
    "mp4": (mp4, "video/mp4"),
    "quicktime": (quicktime, "video/quicktime"),
    "webm": (webm, "video/webm"),
    "matroska": (matroska, "video/matroska"),
}
SOUNDS: dict[str, tuple[Callable[[], bytes], str]] = {
    "mp3": (mp3, "audio/mpeg"),
    "m4a": (m4a, "audio/mp4"),
    "wav": (wav, "audio/wav"),
    "ogg": (ogg, "audio/ogg"),
    "flac": (flac, "audio/flac"),
}
OTHERS: dict[str, tuple[Callable[[], bytes], str]] = {
    "tiff": (tiff, "image/tiff"),
    "heic": (heic, "image/heic"),
    "bmp": (bmp, "image/bmp"),
    "ico": (ico, "image/vnd.microsoft.icon"),
    "svg": (svg, "image/svg+xml"),
    "html_named_jpg": (html_named_jpg, "text/html"),
    "xml": (xml, "application/xml"),
    "text": (text, "text/plain"),
    "pdf": (pdf, "application/pdf"),
    "zip": (zip_archive, "application/zip"),
    "docx": (docx, "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    "xlsx": (xlsx, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    "epub": (epub, "application/epub+zip"),
    "gzip": (gzipped, "application/gzip"),
    "binary": (binary, "application/octet-stream"),
    "empty": (bytes, "application/octet-stream"),
}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _ftyp(brand: bytes, *compatible: bytes) -> bytes:
    body = brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body


def _zip(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _samples() -> bytes:
    """One second of noise, 16 bit, 48 kHz."""
    return random.Random(1).randbytes(96_000)


def _film(container: str, codec: Literal["libx264", "libvpx"]) -> bytes:
    out, noise = io.BytesIO(), random.Random(1)
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=10, options={"threads": "1"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            picture = av.VideoFrame(64, 48, "yuv420p")
            for plane in picture.planes:
                plane.update(noise.randbytes(plane.buffer_size))
            file.mux(stream.encode(picture))
        file.mux(stream.encode())
    return out.getvalue()


def _sound(container: str, codec: Literal["libmp3lame", "aac", "libopus", "flac"]) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        stream = file.add_stream(codec, rate=48_000, options={}, layout="mono")
        assert isinstance(stream, AudioStream)
        frame = av.AudioFrame("s16", "mono", 48_000)
        frame.planes[0].update(_samples())
        frame.sample_rate = 48_000
        resampler = av.AudioResampler(stream.format, "mono", 48_000, stream.frame_size)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode())
    return out.getvalue()
