"""The headers of answers with and without bytes."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from email.message import Message
from hashlib import sha256
from urllib.parse import unquote
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.access import Grant, Reuse
from service.delivery.disposition import content_disposition, is_inline
from service.delivery.headers import CrossOrigin, caching, multipart, partial, refusing, server_timing, whole
from service.delivery.multipart import Layout
from service.delivery.ranges import ByteRange
from service.domain.blob import parse_sha256
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.ports.descriptors import MediaDescriptor, ServableBytes

SHA = parse_sha256(sha256(b"abc").hexdigest())
CONTENT = ServableBytes(SHA, 3, "image/png", "ba/78/key")
REF_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
MEDIA = MediaDescriptor(
    REF_ID,
    CONTENT,
    Visibility.PUBLIC,
    RefState.LIVE,
    False,
    "für.png",
    datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    "book",
    "cover",
)
BLOB_GRANT = Grant(CONTENT, Reuse.IMMUTABLE)
MEDIA_GRANT = Grant(CONTENT, Reuse.BRIEF, MEDIA)


def named(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    names = [name for name, _ in headers]
    assert len(names) == len(set(names)), "a header stands twice"
    return {name.decode(): value.decode() for name, value in headers}


def test_a_public_blob_says_all_that_a_cache_needs() -> None:
    assert named(whole(BLOB_GRANT)) == {
        "etag": f'"{SHA}"',
        "cache-control": "public, max-age=31536000, immutable, no-transform",
        "cache-tag": f"blob-{SHA}",
        "surrogate-key": f"blob-{SHA}",
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "cross-origin-resource-policy": "cross-origin",
        "accept-ranges": "bytes",
        "repr-digest": f"sha-256=:{b64encode(sha256(b'abc').digest()).decode()}:",
        "content-disposition": "inline",
        "content-type": "image/png",
        "content-length": "3",
    }


def test_media_adds_its_name_its_age_and_where_the_bytes_live() -> None:
    added = {
        name: value for name, value in named(whole(MEDIA_GRANT)).items() if value != named(whole(BLOB_GRANT)).get(name)
    }
    assert added == {
        "cache-control": "max-age=300, no-transform",
        "cache-tag": f"blob-{SHA},ref-{REF_ID}",
        "surrogate-key": f"blob-{SHA} ref-{REF_ID}",
        "content-location": f"/blobs/{SHA}",
        "last-modified": "Fri, 02 Jan 2026 03:04:05 GMT",
        "content-disposition": "inline; filename=\"fur.png\"; filename*=UTF-8''f%C3%BCr.png",
    }


def test_what_is_saved_without_a_name_of_its_own_is_named_by_its_hash() -> None:
    saved = replace(CONTENT, media_type="application/pdf")
    unnamed = replace(MEDIA, content=saved, filename=None)
    for grant in (Grant(saved, Reuse.IMMUTABLE), Grant(saved, Reuse.BRIEF, unnamed)):
        expected = f"attachment; filename=\"{SHA}\"; filename*=UTF-8''{SHA}"
        assert named(whole(grant))["content-disposition"] == expected


def test_private_bytes_are_kept_by_no_cache_and_shown_by_no_other_site() -> None:
    headers = named(whole(Grant(CONTENT, Reuse.NEVER)))
    assert headers["cache-control"] == "private, no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_a_304_repeats_what_caches_go_by_and_nothing_about_a_body() -> None:
    headers = named(caching(MEDIA_GRANT))
    full = named(whole(MEDIA_GRANT))
    assert {"etag", "cache-control", "content-location", "cache-tag"} <= headers.keys()
    assert not {"content-length", "content-type", "content-range", "repr-digest"} & headers.keys()
    assert headers.items() <= full.items()


def test_one_range_says_where_it_lies_and_keeps_the_validators_of_the_whole() -> None:
    headers, full = named(partial(BLOB_GRANT, ByteRange(1, 2))), named(whole(BLOB_GRANT))
    assert (headers.pop("content-range"), headers.pop("content-length")) == ("bytes 1-2/3", "2")
    full.pop("content-length")
    assert headers == full


def test_a_multipart_says_its_boundary_and_no_content_range() -> None:
    layout = Layout(CONTENT, (ByteRange(0, 0), ByteRange(2, 2)))
    headers = named(multipart(BLOB_GRANT, layout.boundary, layout.size))
    assert headers["content-type"] == f"multipart/byteranges; boundary={layout.boundary}"
    assert headers["content-length"] == str(layout.size)
    assert "content-range" not in headers
    assert re.fullmatch(r"[0-9a-z-]{1,70}", layout.boundary)


def test_a_refusal_is_kept_by_no_cache_whatever_its_problem_says() -> None:
    headers = named(
        refusing(
            [
                (b"content-type", b"application/problem+json"),
                (b"Cache-Control", b"public"),
                (b"x-content-type-options", b"x"),
            ]
        )
    )
    assert headers["cache-control"] == "no-store"
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"


def test_server_timing_is_in_milliseconds() -> None:
    assert server_timing(0.0015, 0.02, 1) == (b"server-timing", b"db;dur=1.50, storage;dur=20.00, total;dur=1000.00")


@pytest.mark.parametrize("origin", [None, "https://a.example"])
def test_every_origin_gets_the_same_answer_so_that_caches_need_not_vary(origin: str | None) -> None:
    assert named(CrossOrigin().headers(origin)) == {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": (
            "ETag, Content-Range, Accept-Ranges, Content-Length, Repr-Digest, Server-Timing"
        ),
        "timing-allow-origin": "*",
    }


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://a.example", "https://a.example"), ("https://c.example", None), (None, None)]
)
def test_named_origins_are_allowed_one_by_one_and_caches_vary(origin: str | None, allowed: str | None) -> None:
    headers = named(CrossOrigin(("https://a.example", "https://b.example")).headers(origin))
    assert headers.get("access-control-allow-origin") == allowed
    assert headers["vary"] == "Origin"
    assert headers["timing-allow-origin"] == "https://a.example, https://b.example"


def test_without_origins_nothing_is_shared() -> None:
    assert CrossOrigin(()).headers("https://a.example") == []
    assert CrossOrigin(()).preflight("https://a.example") == []


@pytest.mark.parametrize(
    ("media_type", "inline"),
    [
        ("image/jpeg", True),
        ("IMAGE/PNG", True),
        ("image/avif", True),
        ("audio/mpeg", True),
        ("video/mp4", True),
        ("text/plain; charset=utf-8", True),
        ("image/svg+xml", False),
        ("text/html", False),
        ("text/plainer", False),
        ("application/pdf", False),
        ("application/xhtml+xml", False),
        ("application/octet-stream", False),
        ("image/", False),
        ("", False),
    ],
)
def test_only_what_cannot_run_scripts_is_shown_in_place(media_type: str, inline: bool) -> None:
    assert is_inline(media_type) is inline


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        (None, "attachment"),
        ("", "attachment"),
        (" \t", "attachment; filename=\"_\"; filename*=UTF-8''_"),
        ("cover.jpg", "attachment; filename=\"cover.jpg\"; filename*=UTF-8''cover.jpg"),
        ('a"b\\c/d.txt', "attachment; filename=\"a_b_c_d.txt\"; filename*=UTF-8''a%22b_c_d.txt"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("€ rates.txt", "attachment; filename=\"_ rates.txt\"; filename*=UTF-8''%E2%82%AC%20rates.txt"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie: x\"; filename*=UTF-8''a__Set-Cookie%3A%20x"),
        ("gpj.\u202eexe", "attachment; filename=\"gpj._exe\"; filename*=UTF-8''gpj._exe"),
    ],
)
def test_names_are_quoted_for_old_clients_and_encoded_for_new_ones(filename: str | None, expected: str) -> None:
    assert content_disposition("application/pdf", filename) == expected


@given(st.text(st.characters()))
def test_no_filename_breaks_out_of_its_header(filename: str) -> None:
    value = content_disposition("image/png", filename)
    assert re.fullmatch(r"""inline(; filename="[ !#-\[\]-~]*"; filename\*=UTF-8''[!#$&+.^_`|~0-9A-Za-z%-]*)?""", value)


@given(st.text("abcäöü€ .-_()'日本😀", min_size=1).filter(str.strip))
def test_a_filename_comes_back_from_its_header(filename: str) -> None:
    value = content_disposition("image/png", filename)
    assert unquote(value.rpartition("UTF-8''")[2]) == filename.strip()
    parsed = Message()
    parsed["Content-Disposition"] = value
    assert parsed.get_content_disposition() == "inline"
