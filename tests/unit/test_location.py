"""Where a store is, as text: what is read comes out again, and nothing else is read."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.location import BucketLocation, FolderLocation, Location, parse_location

_WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_. äß€%&=+", min_size=1, max_size=20)
_NAMES = _WORDS.filter(lambda name: name not in {".", ".."})
_FOLDERS = st.builds(lambda names: FolderLocation(PurePosixPath("/", *names)), st.lists(_NAMES, max_size=4))
_BUCKETS = st.builds(
    BucketLocation,
    st.from_regex(r"[a-z0-9][a-z0-9.-]{1,30}", fullmatch=True),
    st.none() | st.sampled_from(["https://s3.example", "http://127.0.0.1:8333", "https://s3.example/path"]),
    st.none() | _WORDS,
    st.none() | _WORDS,
)


@given(_FOLDERS | _BUCKETS)
def test_what_is_written_is_read_again(location: Location) -> None:
    assert parse_location(str(location)) == location


@given(st.text())
def test_a_text_is_a_location_or_a_value_error(text: str) -> None:
    try:
        found = parse_location(text)
    except ValueError:
        return
    assert parse_location(str(found)) == found


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("file:///srv/refkeep/blobs", FolderLocation(PurePosixPath("/srv/refkeep/blobs"))),
        ("file:///srv//refkeep/blobs/", FolderLocation(PurePosixPath("/srv/refkeep/blobs"))),
        ("file:///srv/my%20blobs", FolderLocation(PurePosixPath("/srv/my blobs"))),
        ("s3://refkeep", BucketLocation("refkeep")),
        ("s3://refkeep/", BucketLocation("refkeep")),
        (
            "s3://refkeep?endpoint=https://s3.example/&region=eu-1&profile=old",
            BucketLocation("refkeep", "https://s3.example", "eu-1", "old"),
        ),
    ],
)
def test_locations(text: str, location: Location) -> None:
    assert parse_location(text) == location


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/srv/blobs",
        "file://srv/blobs",
        "file:blobs",
        "file:///srv/../blobs",
        "file:///srv?x=1",
        "file:///srv#x",
        "file:///srv/%00",
        "file:///" + "x" * 5000,
        "s3://",
        "s3://a",
        "s3://bucket/folder",
        "s3://bucket?colour=red",
        "s3://bucket?region=",
        "s3://bucket?region=a&region=b",
        "s3://bucket?endpoint=s3.example",
        "s3://bucket?endpoint=https://user:secret@s3.example",
        "s3://bucket?endpoint=https://s3.example?x=1",
        "s3://key:secret@bucket",
        "https://bucket",
    ],
)
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(ValueError):
        parse_location(text)


def test_a_folder_whose_name_is_no_text_has_a_location_all_the_same() -> None:
    assert str(FolderLocation(PurePosixPath("/srv/\udcff"))) == "file:///srv/%FF"
