"""The media type by the first bytes: no surprise may turn markup into a picture, or text into a program."""

from __future__ import annotations

import codecs
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.vips.sniff import HEAD_BYTES, sniff
from tests import samples

EVERYTHING = samples.PICTURES | samples.FILMS | samples.SOUNDS | samples.OTHERS
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"


def ftyp(*brands: bytes) -> bytes:
    return struct.pack(">I", 12 + 4 * len(brands)) + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]) + bytes(32)


def ebml(doctype: bytes, before: bytes = b"") -> bytes:
    name = before + b"\x42\x82" + bytes([0x80 | len(doctype)]) + doctype
    return b"\x1a\x45\xdf\xa3" + bytes([0x80 | len(name)]) + name + b"\x18\x53\x80\x67\x01" + b"\xff" * 7


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_sample_is_known_by_its_head(name: str) -> None:
    sample, media_type = EVERYTHING[name]
    head = sample()[:HEAD_BYTES]
    assert sniff(head) == (
        "video/mp4" if name == "m4a" else media_type
    )  # that nothing is to be seen, only a reader knows


@pytest.mark.parametrize(
    ("brands", "media_type"),
    [
        ((b"mp42", b"isom"), "video/mp4"),
        ((b"iso5", b"avc1", b"dash"), "video/mp4"),
        ((b"M4V ", b"mp42"), "video/mp4"),
        ((b"M4A ", b"mp42", b"isom"), "audio/mp4"),
        ((b"qt  ",), "video/quicktime"),
        ((b"3gp5", b"isom"), "video/3gpp"),
        ((b"avif", b"mif1", b"miaf"), "image/avif"),
        ((b"avis", b"msf1"), "image/avif"),
        ((b"mif1", b"avif", b"miaf"), "image/avif"),
        ((b"heic", b"mif1"), "image/heic"),
        ((b"mif1", b"heic"), "image/heic"),
        ((b"mif1", b"miaf"), "image/heif"),
        ((b"zzzz", b"yyyy"), "application/octet-stream"),
    ],
)
def test_brands_tell_films_from_pictures(brands: tuple[bytes, ...], media_type: str) -> None:
    assert sniff(ftyp(*brands)) == media_type


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (ebml(b"webm"), "video/webm"),
        (ebml(b"matroska"), "video/matroska"),
        (ebml(b"webm", before=b"\xec\x85webmX"), "video/webm"),
        (ebml(b"matroska", before=b"\xec\x84webm"), "video/matroska"),
        (ebml(b"other"), "application/octet-stream"),
        (b"\x1a\x45\xdf\xa3", "application/octet-stream"),
    ],
)
def test_webm_and_matroska_are_told_apart_by_their_doctype(head: bytes, media_type: str) -> None:
    assert sniff(head) == media_type


@pytest.mark.parametrize(
    "head",
    [
        HTML,
        HTML.upper(),
        b"\n\t\r  " + HTML,
        codecs.BOM_UTF8 + HTML,
        codecs.BOM_UTF8 + b"<!-- a comment --> \n<!-- another -->" + HTML,
        codecs.BOM_UTF16_LE + HTML.decode().encode("utf-16-le"),
        codecs.BOM_UTF16_BE + HTML.decode().encode("utf-16-be"),
        b"<!-- a comment that never ends " + b"x" * HEAD_BYTES,
        b"<script>alert(1)</script>",
        b"<IMG SRC=x onerror=alert(1)>",
        b"<iframe\nsrc=javascript:alert(1)>",
        b"<a/href=javascript:alert(1)>",
        b"<body>\xff\xfe\x00 bytes that are no text",
    ],
)
def test_html_is_html_whatever_stands_before_it(head: bytes) -> None:
    assert sniff(head) == "text/html"


@pytest.mark.parametrize(
    "head",
    [
        samples.svg(),
        b"<svg/>",
        b"<SVG onload=alert(1)>",
        b"<!-- drawn by hand --><svg xmlns='http://www.w3.org/2000/svg'>",
        b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN'>",
        b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'>",
        b"<?xml version='1.0'?><?xml-stylesheet href='x'?>\n<svg>",
    ],
)
def test_svg_is_svg_and_no_raster_picture(head: bytes) -> None:
    assert sniff(head) == "image/svg+xml"


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>", "application/xhtml+xml"),
        (b"<?xml version='1.0'?><feed>", "application/xml"),
        (b"<?xml version='1.0'", "application/xml"),
        (b"GIFT ideas for the library", "text/plain"),
        (b"BM is a town, and this is about it.", "text/plain"),
        (b"<- an arrow, no markup", "text/plain"),
        (b"<bold> is no element of HTML", "text/plain"),
        (b'{"json": true}', "text/plain"),
        (codecs.BOM_UTF16_LE + "Grüße".encode("utf-16-le"), "text/plain"),
        ("ü".encode() * HEAD_BYTES, "text/plain"),
        (("x" + "ü" * HEAD_BYTES).encode()[:HEAD_BYTES], "text/plain"),
        ("Grüße".encode("latin-1"), "application/octet-stream"),
        (b"text with a \0 in it", "application/octet-stream"),
        (b"\x89PNG", "application/octet-stream"),
        (b"\xff\xfb", "application/octet-stream"),
        (b"RIFF\0\0\0\0ABCD", "application/octet-stream"),
        (b"%!PS-Adobe-3.0", "application/postscript"),
        (b"{\\rtf1 text}", "application/rtf"),
        (b"PK\x05\x06" + bytes(18), "application/zip"),
        (b"II*\0" + bytes(20), "image/tiff"),
    ],
)
def test_what_looks_like_something_else_is_not(head: bytes, media_type: str) -> None:
    assert sniff(head) == media_type


def test_mp3_without_a_tag_needs_two_frames() -> None:
    frame = bytes.fromhex("fffb9064") + bytes(413)
    assert sniff(frame * 2) == "audio/mpeg"
    assert sniff(frame + bytes(400)) == "application/octet-stream"


@given(st.binary(max_size=600))
def test_any_bytes_have_a_type(head: bytes) -> None:
    assert sniff(head).count("/") == 1


@given(st.sampled_from(sorted(EVERYTHING)), st.integers(0, 400), st.binary(max_size=40))
def test_any_damage_leaves_a_type(name: str, at: int, piece: bytes) -> None:
    data = EVERYTHING[name][0]()[:2000]
    assert sniff(data[:at] + piece + data[at + len(piece) :]).count("/") == 1


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1))
def test_text_is_text_or_markup_and_nothing_binary(text: str) -> None:
    assert sniff(text.encode()) in {"text/plain", "text/html", "image/svg+xml"}
