"""Paths and header fields: pure parsers of outside input."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.domain.errors import BadName, BadRequest
from service.domain.filename import clean_filename
from service.router.digests import ALGORITHMS, parse_digests
from service.router.filenames import part_filename
from service.router.idempotency import parse_idempotency_key
from service.router.paths import is_canonical
from service.router.versions import parse_if_match, parse_only_if_empty, version_etag

SEGMENT = st.from_regex(r"[A-Za-z0-9._~:@-]{1,20}", fullmatch=True).filter(lambda text: text not in {".", ".."})
HEADER = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)


@given(st.lists(SEGMENT, min_size=1))
def test_a_path_of_plain_segments_is_canonical(segments: list[str]) -> None:
    assert is_canonical(b"/" + "/".join(segments).encode())


@given(
    st.lists(SEGMENT, min_size=1),
    st.sampled_from(["/", "//x", "/.", "/..", "/./x", "/../x", "%41", " ", "\\", "é", "\n", "?"]),
)
def test_any_other_spelling_is_not_canonical(segments: list[str], flaw: str) -> None:
    assert not is_canonical(b"/" + ("/".join(segments) + flaw).encode())


@pytest.mark.parametrize("path", [b"", b"blobs", b"//", b"/blobs//x", b"/blobs/", b"/a/../b", b"/%61", b"*", b"/a\x00"])
def test_path_tricks_are_not_canonical(path: bytes) -> None:
    assert not is_canonical(path)


@pytest.mark.parametrize("path", [b"/", b"/a", b"/.well-known", b"/a/...", b"/refs/book/isbn:978@2/cover/0"])
def test_names_of_the_api_are_canonical(path: bytes) -> None:
    assert is_canonical(path)


@given(st.binary(max_size=40))
def test_a_canonical_path_has_no_other_spelling(path: bytes) -> None:
    if is_canonical(path):
        assert re.search(rb"%|//|[^\x21-\x7e]|.+/$|/\.\.?(/|$)", path, re.DOTALL) is None


@pytest.mark.parametrize("name", ALGORITHMS)
@given(body=st.binary())
def test_a_digest_is_read_as_it_was_written(name: str, body: bytes) -> None:
    digest = hashlib.new(name.replace("-", ""), body).digest()
    field = f"{name}=:{base64.b64encode(digest).decode()}:"
    assert parse_digests("Content-Digest", field) == {name: digest}
    assert parse_digests("Content-Digest", f"md5=:AAAA:, {field};x=1") == {name: digest}


@pytest.mark.parametrize("field", [None, "", "crc32c=:AAAA:, md5=:AAAA:"])
def test_other_algorithms_promise_nothing(field: str | None) -> None:
    assert parse_digests("Repr-Digest", field) == {}


@pytest.mark.parametrize(
    "field",
    [
        "sha-256",
        "sha-256=abc",
        "sha-256=:AAAA:",
        "sha-512=:AAAA:",
        "sha-256=:!:",
        "sha-256=:AAAA",
        "sha-256=(:AAAA:)",
        "=",
        "SHA-256=:AAAA:",
        "\u20ac=:AAAA:",
    ],
)
def test_a_malformed_digest_is_a_bad_request(field: str) -> None:
    with pytest.raises(BadRequest):
        parse_digests("Content-Digest", field)


@given(HEADER)
@example("a=(")
def test_no_digest_field_breaks_the_parser(field: str) -> None:
    try:
        found = parse_digests("Content-Digest", field)
        assert {name: len(digest) for name, digest in found.items()}.items() <= ALGORITHMS.items()
    except BadRequest as error:
        assert "Content-Digest" in str(error)


@given(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1, max_size=255)
)
def test_an_idempotency_key_is_the_same_quoted_and_bare(key: str) -> None:
    assert parse_idempotency_key(key) == parse_idempotency_key(f'"{key}"') == key


@pytest.mark.parametrize(
    "field", ["", '""', '"a', "a b", "é", "a" * 256, '"' + "a" * 256 + '"', '"a" "b"', '"a b"', 'a"b']
)
def test_a_malformed_idempotency_key_is_a_bad_request(field: str) -> None:
    with pytest.raises(BadRequest):
        parse_idempotency_key(field)


def test_no_idempotency_key_is_none() -> None:
    assert parse_idempotency_key(None) is None


@given(st.lists(st.integers(0, 10**15), min_size=1))
def test_if_match_names_the_versions_that_were_given_out(versions: list[int]) -> None:
    assert parse_if_match(", ".join(map(version_etag, versions))) == frozenset(versions)


@pytest.mark.parametrize(
    ("field", "versions"),
    [
        (None, None),
        ("*", None),
        ('"7"', {7}),
        ('"7","9"', {7, 9}),
        (', "7",', {7}),
        ('W/"7"', set()),
        ('W/"7", "8"', {8}),
        ('"abc"', set()),
        ('"07"', set()),
        ('"W/", "7"', {7}),
        ('""', set()),
    ],
)
def test_if_match_compares_strongly(field: str | None, versions: set[int] | None) -> None:
    assert parse_if_match(field) == versions


@pytest.mark.parametrize("field", ["7", '"7', '"7" "8"', '*, "7"', "", '"7";', 'w/"7"', '"a b"'])
def test_a_malformed_if_match_is_a_bad_request(field: str) -> None:
    with pytest.raises(BadRequest):
        parse_if_match(field)


@given(HEADER)
def test_no_if_match_breaks_the_parser(field: str) -> None:
    try:
        assert all(version >= 0 for version in parse_if_match(field) or ())
    except BadRequest as error:
        assert "If-Match" in str(error)


def test_if_none_match_takes_a_star_alone() -> None:
    assert not parse_only_if_empty(None)
    assert parse_only_if_empty("*")
    with pytest.raises(BadRequest):
        parse_only_if_empty('"7"')


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("photo.jpg", "photo.jpg"),
        (r"C:\fakepath\photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("/", None),
        ("..", None),
        (" ", None),
        ("Grüße 你好.png", "Grüße 你好.png"),
    ],
)
def test_a_filename_loses_its_path(sent: str, name: str | None) -> None:
    assert clean_filename(sent) == name


@pytest.mark.parametrize("sent", ["a\nb", "a\x00.jpg", "a\u2028b", "a" * 256, "a\x85b"])
def test_a_filename_with_control_characters_or_without_end_is_bad(sent: str) -> None:
    with pytest.raises(BadName):
        clean_filename(sent)


@given(st.text())
def test_a_clean_filename_is_one_printable_segment(text: str) -> None:
    try:
        name = clean_filename(text)
    except BadName:
        return
    assert name is None or (len(name) <= 255 and not set(name) & set("/\\\n\r\0") and clean_filename(name) == name)


@pytest.mark.parametrize(
    ("disposition", "plain", "name"),
    [
        ('form-data; name="file"; filename="a.jpg"', "a.jpg", "a.jpg"),
        ("form-data; name=\"file\"; filename*=utf-8''na%C3%AFve.jpg", None, "naïve.jpg"),
        ('form-data; name="file"; filename="a"; filename*=UTF-8\'en\'%e2%82%ac', "a", "€"),
        ("form-data; name=\"file\"; filename*=iso-8859-1''na%EFve.jpg", None, "naïve.jpg"),
        ('form-data; name="file"; filename="x; filename*=utf-8\'\'evil"', "x", "x"),
        ('form-data; name="file"', None, None),
    ],
)
def test_an_extended_filename_goes_before_the_plain_one(disposition: str, plain: str | None, name: str | None) -> None:
    assert part_filename(disposition, plain) == name


def test_an_extended_filename_that_does_not_decode_is_a_bad_request() -> None:
    with pytest.raises(BadRequest):
        part_filename("form-data; filename*=utf-8''%ff", "a")
