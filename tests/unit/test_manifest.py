"""Lines of a manifest: rows, or mistakes that a person can find."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.importing import Location, ManifestRow, Place, PlaceKind, SourceKind
from service.domain.policy import Visibility
from service.domain.ref import Labels
from service.domain.slot import EntityKey
from service.ports.worklist import Mistake
from service.schemas.manifest import MAX_LINE, ManifestUnreadable, parse_manifest
from tests.parts.manifests import as_csv, line

MARKER = EntityKey("demo", "checkpoint_marker", "m1")
HEADER = b"workspace,entity_type,entity_id,role,order,path,source_id\n"
GOOD = b"demo,checkpoint_marker,m1,image,1,1.png,marker:1\n"


def parsed(manifest: bytes) -> list[ManifestRow | Mistake]:
    return [*parse_manifest(enumerate(manifest.splitlines(keepends=True), 1))]


def mistake(manifest: bytes) -> Mistake:
    [found] = [entry for entry in parsed(manifest) if isinstance(entry, Mistake)]
    return found


def test_both_forms_say_the_same() -> None:
    said = line(1, filename="für.png", alt='Ein "Bild", hier', owner="ann", visibility="private")
    expected = ManifestRow(
        2, "marker:1", MARKER, "image", Place(PlaceKind.ORDER, 1), Location(SourceKind.FILE, "1.png"),
        Labels("für.png", 'Ein "Bild", hier', "ann"), Visibility.PRIVATE,
    )  # fmt: skip
    assert parsed(as_csv([said])) == [expected]
    [as_json] = parsed(b"\n" + json.dumps(said).encode() + b"\r\n")
    assert as_json == expected


def test_a_spreadsheet_may_put_its_mark_in_front() -> None:
    assert parsed(codecs.BOM_UTF8 + HEADER + GOOD) == parsed(HEADER + GOOD)


@pytest.mark.parametrize(
    ("said", "location"),
    [
        ({"path": "a b/ü.png"}, Location(SourceKind.FILE, "a b/ü.png")),
        ({"path": None, "url": "HTTPS://a.example/x"}, Location(SourceKind.WEB, "HTTPS://a.example/x")),
        ({"path": None, "url": "data:,abc"}, Location(SourceKind.DATA, "data:,abc")),
    ],
)
def test_bytes_lie_in_a_file_behind_an_address_or_in_the_line(said: dict[str, str], location: Location) -> None:
    [row] = parsed(as_csv([line(1, **said)]))
    assert isinstance(row, ManifestRow)
    assert row.location == location


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"order": None}, Place(PlaceKind.POSITION, 0)),
        ({"order": None, "position": 3}, Place(PlaceKind.POSITION, 3)),
        ({"order": "-12"}, Place(PlaceKind.ORDER, -12)),
        ({"order": 999_999_999_999_999_999}, Place(PlaceKind.ORDER, 999_999_999_999_999_999)),
    ],
)
def test_a_place_is_a_position_or_an_order_or_the_only_one(said: dict[str, object], place: Place) -> None:
    for manifest in (as_csv([line(1, **said)]), json.dumps(line(1, **said)).encode()):
        [row] = parsed(manifest)
        assert isinstance(row, ManifestRow)
        assert row.place == place


UNREADABLE = {
    b"": "Line 1: the manifest is empty",
    b"\n\r\n\n": "Line 1: the manifest is empty",
    codecs.BOM_UTF8: "Line 1: the manifest is empty",
    (HEADER + GOOD).decode().encode("utf-16"): "Line 1: begins like UTF-16",
    (HEADER + GOOD).decode().encode("utf-16-le"): "Line 1: holds NUL",
    b"\n" + HEADER.replace(b"role", b"r\xf6le"): "Line 2: Byte 34 of the line is not UTF-8",
    HEADER.replace(b"path,", b""): "Line 1: a column path or url is missing",
    HEADER.replace(b"role,", b""): "Line 1: the column role is missing",
    HEADER.replace(b"role", b"roles"): "Line 1: there is no column 'roles'; known are workspace, entity_type,",
    HEADER.replace(b"order", b"path"): "Line 1: the column path stands twice",
    b'"workspace,entity_type\n': "Line 1: This is no CSV",
    b"x" * 70_000 + b"\n": "Line 1: there is no column",
}


@pytest.mark.parametrize("manifest", UNREADABLE, ids=range(len(UNREADABLE)))
def test_a_manifest_that_cannot_be_read_at_all_says_where_and_why(manifest: bytes) -> None:
    with pytest.raises(ManifestUnreadable) as refused:
        parsed(manifest)
    assert str(refused.value).startswith(UNREADABLE[manifest])


def test_an_endless_first_line_is_not_read() -> None:
    with pytest.raises(ManifestUnreadable, match=f"Line 1: is longer than {MAX_LINE} bytes"):
        next(parse_manifest([(1, None)]))


WRONG = {
    b"demo,checkpoint_marker,m1,image,1,1.png": "The line has 6 fields, the header 7.",
    b'demo,checkpoint_marker,m1,image,1,"1.png,marker:1': "This is no CSV",
    b"demo,checkpoint_marker,m1,im\xe4ge,1,1.png,marker:1": "Byte 29 of the line is not UTF-8.",
    b"demo,checkpoint_marker,m1,image,1,1\0.png,marker:1": "The line holds NUL.",
    b"demo,checkpoint_marker,m1,image,1,1\x07.png,marker:1": "A path or url holds no control characters.",
    b"demo,checkpoint_marker,m1,image,1,,marker:1": "A line has either a path or a url.",
    b"demo,checkpoint_marker,m1,image,first,1.png,marker:1": "An order is a whole number",
    b"demo,checkpoint_marker,m1,image,1e3,1.png,marker:1": "An order is a whole number",
    b"demo,checkpoint_marker,m1,image,1111111111111111111,1.png,marker:1": "An order is a whole number",
    b"demo,checkpoint_marker,m1,Image,1,1.png,marker:1": "'Image' is no valid role",
    b"demo,checkpoint_marker,m1,image,1,1.png,": "source_id",
    b"demo,checkpoint_marker,m1,image,1,1.png, marker:1": "A source_id has no space around it.",
    b"demo,checkpoint_marker,m1,image,1,1.png," + b"x" * 201: "length <= 200",
    b"demo,checkpoint_marker,m1,image,1,1.png,\x1b": "no valid filename",
    b"demo,checkpoint_marker,m1,image,1," + b"x" * 4097 + b",marker:1": "length <= 4096",
}


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_wrong_line_is_told_with_its_number_and_the_rest_goes_on(wrong: bytes) -> None:
    entries = parsed(HEADER + GOOD + wrong + b"\n" + GOOD.replace(b"m1", b"m2"))
    assert [type(entry) for entry in entries] == [ManifestRow, Mistake, ManifestRow]
    found = entries[1]
    assert isinstance(found, Mistake)
    assert (found.line, found.reason.code) == (3, "bad-line")
    assert WRONG[wrong] in found.reason.detail


@pytest.mark.parametrize(
    ("wrong", "entity"),
    [
        (b"demo,checkpoint_marker,m1,im\xe4ge,1,1.png,marker:1", MARKER),
        (b"demo,checkpoint_marker,m1,image,1,1\0.png,marker:1", MARKER),
        (b"demo,checkpoint_marker,m1,image,x,1.png,marker:1", MARKER),
        (b"demo,checkpoint_marker,m\xe41,image,1,1.png,marker:1", None),
        (b"Demo!,checkpoint_marker,m1,image,1,1.png,marker:1", None),
        (b"demo,checkpoint_marker,m1", None),
    ],
)
def test_a_wrong_line_spoils_its_entity_as_far_as_that_can_be_read(wrong: bytes, entity: EntityKey | None) -> None:
    assert mistake(HEADER + wrong + b"\n").entity == entity


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"extra": 1}, "unknown field `extra`"),
        ({"role": None}, "missing required field `role`"),
        ({"alt": 7}, "Expected `str | null`, got `int`"),
        ({"order": 1.5}, "got `float`"),
        ({"order": True}, "got `bool`"),
        ({"order": 1, "position": 1}, "a position or an order, not both"),
        ({"order": None, "position": "01"}, "no valid position"),
        ({"url": "https://a.example/"}, "either a path or a url"),
        ({"path": None, "url": "ftp://a.example/"}, "A url begins with https:, http: or data:."),
        ({"visibility": "secret"}, "Invalid enum value 'secret'"),
        ({"filename": "a\nb"}, "no valid filename"),
        ({"alt": "x" * 1001}, "length <= 1000"),
        ({"source_id": "\ud800"}, "JSON"),
        ({"path": "a\0b"}, "A path or url holds no control characters."),
    ],
)
def test_wrong_members_are_named(said: dict[str, object], why: str) -> None:
    manifest = json.dumps({"workspace": "demo"} | line(0)).encode() + b"\n" + json.dumps(line(1, **said)).encode()
    found = mistake(manifest)
    assert (found.line, why in found.reason.detail) == (2, True), found.reason.detail


@pytest.mark.parametrize("wrong", [b"[]", b"{", b"null", b'{"a":1}{}', b"\xff{}", b"x" * 50])
def test_a_line_that_is_no_object_is_told(wrong: bytes) -> None:
    found = mistake(json.dumps(line(1)).encode() + b"\n" + wrong)
    assert (found.line, found.entity) == (2, None)


def test_a_line_that_is_too_long_is_told_and_the_rest_goes_on() -> None:
    lines: Iterator[tuple[int, bytes | None]] = iter([(1, HEADER), (2, None), (3, GOOD)])
    first, second = parse_manifest(lines)
    assert isinstance(first, Mistake)
    assert (first.line, first.reason.detail) == (2, f"The line is longer than {MAX_LINE} bytes.")
    assert isinstance(second, ManifestRow)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_whatever_stands_in_a_manifest_it_is_a_row_a_mistake_or_unreadable(lines: list[bytes]) -> None:
    for head in (HEADER, b"{}\n", b""):
        try:
            entries = parsed(head + b"\n".join(lines))
        except ManifestUnreadable:
            continue
        assert {type(entry) for entry in entries} <= {ManifestRow, Mistake}


@pytest.mark.parametrize("depth", [100, 900, 990, 100_000])
@pytest.mark.parametrize("member", ["workspace", "entity_id", "source_id", "filename", "more"])
def test_a_line_nested_deeply_is_one_mistake_and_the_others_go_on(depth: int, member: str) -> None:
    good = json.dumps(line(1)).encode()
    nested = json.dumps({**line(2), member: None}).encode().replace(b"null", b"[" * depth + b"]" * depth)
    before, wrong, after = parsed(b"\n".join([good, nested, good]))
    assert isinstance(before, ManifestRow)
    assert isinstance(after, ManifestRow)
    assert isinstance(wrong, Mistake)
    assert (wrong.line, wrong.reason.code) == (2, "bad-line")
