"""Which requests are delivery's."""

from __future__ import annotations

from urllib.parse import unquote
from uuid import UUID

import pytest

from service.delivery.asgi import Scope
from service.delivery.routes import BlobRoute, MediaRoute, PresetRoute, Route, _route_of_short, match
from service.domain.blob import parse_sha256

SHA = "0123456789abcdef" * 4
REF = "01890a5d-ac96-774b-bcce-b302099a8057"


def request(method: str, raw: str) -> Scope:
    return {"type": "http", "method": method, "path": unquote(raw), "raw_path": raw.encode()}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/blobs/{SHA}", BlobRoute(parse_sha256(SHA))),
        (f"/blobs/{SHA.upper()}", BlobRoute(None)),
        (f"/blobs/{SHA[1:]}", BlobRoute(None)),
        (f"/blobs/%30{SHA[1:]}", BlobRoute(None)),
        ("/blobs/missing.png", BlobRoute(None)),
        (f"/blobs/{SHA}\n", BlobRoute(None)),
        (f"/media/{REF}/file", MediaRoute(UUID(REF))),
        (f"/media/{REF.upper()}/file", MediaRoute(None)),
        (f"/media/{REF.replace('-', '')}/file", MediaRoute(None)),
        (f"/media/{REF.replace('774b', '474b')}/file", MediaRoute(None)),
        (f"/media/%30{REF[1:]}/file", MediaRoute(None)),
        (f"/blobs/{SHA}/thumb", PresetRoute(BlobRoute(parse_sha256(SHA)), "thumb")),
        (f"/blobs/{SHA}/thumb.webp", PresetRoute(BlobRoute(parse_sha256(SHA)), "thumb", "webp")),
        (f"/media/{REF}/file/book-2_x", PresetRoute(MediaRoute(UUID(REF)), "book-2_x")),
        (f"/media/{REF}/file/thumb.jpg", PresetRoute(MediaRoute(UUID(REF)), "thumb", "jpg")),
        (f"/media/{REF}/file/meta", PresetRoute(MediaRoute(UUID(REF)), "meta")),
        (f"/blobs/{SHA}/Thumb", PresetRoute(BlobRoute(parse_sha256(SHA)), None)),
        (f"/blobs/{SHA}/thumb.", PresetRoute(BlobRoute(parse_sha256(SHA)), None)),
        (f"/blobs/{SHA}/thumb.WEBP", PresetRoute(BlobRoute(parse_sha256(SHA)), None)),
        (f"/blobs/{SHA}/thumb.tar.gz", PresetRoute(BlobRoute(parse_sha256(SHA)), None)),
        (f"/blobs/{SHA}/{'a' * 33}", PresetRoute(BlobRoute(parse_sha256(SHA)), None)),
        (f"/blobs/{SHA}/meta\n", PresetRoute(BlobRoute(parse_sha256(SHA)), None)),
        (f"/blobs/{SHA}/%74humb", PresetRoute(BlobRoute(None), "thumb")),
        ("/blobs/missing/thumb", PresetRoute(BlobRoute(None), "thumb")),
        (f"/blobs/{SHA}/thumb/", None),
        (f"/blobs/{SHA}//thumb", None),
        ("/blobs/missing", None),
        ("/blobs/", None),
        ("/blobs", None),
        (f"/blobs/{SHA}/", None),
        (f"/blobs/{SHA}/meta", None),
        (f"/blobs/{SHA}/why", None),
        (f"//blobs/{SHA}", None),
        (f"/media/{REF}", None),
        (f"/media/{REF}/file/", None),
        ("/media//file", None),
        ("/refs/book/42", None),
    ],
)
def test_a_path_is_matched_in_its_one_spelling(path: str, expected: Route | None) -> None:
    assert match(request("GET", path)) == expected


@pytest.mark.parametrize(
    ("method", "blob", "media"),
    [
        ("GET", True, True),
        ("HEAD", True, True),
        ("OPTIONS", True, True),
        ("POST", True, True),
        ("PATCH", True, True),
        ("PUT", False, True),
        ("DELETE", False, True),
    ],
)
def test_every_method_but_the_writes_to_a_blob_is_answered_here(method: str, blob: bool, media: bool) -> None:
    assert (match(request(method, f"/blobs/{SHA}")) is not None) is blob
    assert (match(request(method, f"/media/{REF}/file")) is not None) is media


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"])
def test_every_method_of_a_rendition_is_answered_here(method: str) -> None:
    for path in (f"/blobs/{SHA}/thumb", f"/media/{REF}/file/thumb.avif"):
        route = match(request(method, path))
        assert route is not None
        assert route.allow == "GET, HEAD, OPTIONS"
        assert (
            route.template == f"{path.rpartition('/')[0].replace(SHA, '{sha256}').replace(REF, '{ref_id}')}/{{preset}}"
        )


def test_what_strangers_ask_for_is_remembered_only_as_far_as_it_is_short() -> None:
    match(request("GET", f"/blobs/{SHA}"))
    before = _route_of_short.cache_info().currsize
    for number in range(50):
        match(request("GET", f"/blobs/{number}" + "x" * 1000))
        match(request("GET", f"/x/{number}" + "%F0%9F%98%80" * 30))
        match(request("M" * 1000 + str(number), f"/blobs/{SHA}"))
    assert _route_of_short.cache_info().currsize == before
