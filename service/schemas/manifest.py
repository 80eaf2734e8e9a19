"""The manifest of an import, CSV with a header or NDJSON: lines of bytes in, a row or a mistake out for each.

What a column means stands in docs/import.md.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from service.domain.errors import RefkeepError
from service.domain.filename import clean_filename
from service.domain.importing import Location, ManifestRow, Place, PlaceKind, Reason, SourceKind
from service.domain.policy import Visibility
from service.domain.ref import Labels, parse_labels
from service.domain.slot import EntityKey, parse_entity_id, parse_name, parse_position
from service.domain.workspace import parse_slug
from service.ports.worklist import Mistake
from service.schemas.requests import Filename, Owner, Text

MAX_LINE = 4 * 2**20
"""Bytes of one line: a data: URL stands in it."""

_MUST = ("workspace", "entity_type", "entity_id", "role", "source_id")
_PLACES, _SOURCES = ("position", "order"), ("path", "url")
_MAY = ("filename", "alt", "owner", "visibility")
COLUMNS = (*_MUST, *_PLACES, *_SOURCES, *_MAY)
_ORDER = re.compile(r"-?[0-9]{1,18}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

SourceText = Annotated[str, Meta(min_length=1, max_length=200)]
PathText = Annotated[str, Meta(min_length=1, max_length=4096)]
UrlText = Annotated[str, Meta(min_length=1, max_length=MAX_LINE)]
PlaceText = int | Annotated[str, Meta(max_length=20)]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a line says."""

    workspace: str
    entity_type: str
    entity_id: str
    role: str
    source_id: SourceText
    position: PlaceText | None = None
    order: PlaceText | None = None
    path: PathText | None = None
    url: UrlText | None = None
    filename: Filename | None = None
    alt: Text | None = None
    owner: Owner | None = None
    visibility: Visibility | None = None


class ManifestUnreadable(Exception):
    """The manifest as a whole cannot be read, so nothing of it is imported; `str(error)` begins with the line."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(f"Line {line}: {sentence}")


class _Wrong(Exception):
    """What is wrong with a line, in a sentence."""


def parse_manifest(lines: Iterable[tuple[int, bytes | None]]) -> Iterator[ManifestRow | Mistake]:
    """Rows and mistakes, in the order of their lines; empty lines are left out.

    A line comes with its number, counted from 1, and with its end; None stands for one that is longer than `MAX_LINE`.
    Raises `ManifestUnreadable`.
    """
    numbered = ((number, raw if raw is None else raw.rstrip(b"\r\n")) for number, raw in lines)
    filled = ((number, raw) for number, raw in numbered if raw != b"")
    number, first = next(filled, (1, b""))
    if first is None:
        raise ManifestUnreadable(number, f"is longer than {MAX_LINE} bytes.")
    first = first.removeprefix(codecs.BOM_UTF8)  # spreadsheets write it in front of UTF-8
    _refuse_unreadable(number, first)
    if first.lstrip().startswith(b"{"):
        yield _parsed(number, first, None)
        yield from (_parsed(number, raw, None) for number, raw in filled)
    else:
        header = _header(number, first)
        yield from (_parsed(number, raw, header) for number, raw in filled)


def _refuse_unreadable(number: int, first: bytes) -> None:
    if first == b"":
        raise ManifestUnreadable(number, "the manifest is empty.")
    if first.startswith(_UTF16_MARKS):
        raise ManifestUnreadable(number, "begins like UTF-16; save it as UTF-8.")
    if b"\0" in first:
        raise ManifestUnreadable(number, "holds NUL, so this is no UTF-8 text.")


def _header(number: int, raw: bytes) -> list[str]:
    """The names of the columns. Raises `ManifestUnreadable`."""
    try:
        names = [name.strip() for name in _fields(_text(raw))]
    except _Wrong as wrong:
        raise ManifestUnreadable(number, str(wrong)) from wrong
    known = f"known are {', '.join(COLUMNS)}."
    if unknown := [name for name in names if name not in COLUMNS]:
        raise ManifestUnreadable(number, f"there is no column {unknown[0][:80]!r}; {known}")
    if twice := [name for name in names if names.count(name) > 1]:
        raise ManifestUnreadable(number, f"the column {twice[0]} stands twice.")
    if missing := [name for name in _MUST if name not in names]:
        raise ManifestUnreadable(number, f"the column {missing[0]} is missing; {known}")
    if not {*_SOURCES} & {*names}:
        raise ManifestUnreadable(number, "a column path or url is missing.")
    return names


def _parsed(number: int, raw: bytes | None, header: list[str] | None) -> ManifestRow | Mistake:
    if raw is None:
        return Mistake(number, Reason("bad-line", f"The line is longer than {MAX_LINE} bytes."))
    try:
        return _row(number, _members(_text(raw), header))
    except _Wrong as wrong:
        return _mistake(number, raw, header, str(wrong))


def _text(raw: bytes) -> str:
    if b"\0" in raw:
        raise _Wrong("The line holds NUL.")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Wrong(f"Byte {error.start + 1} of the line is not UTF-8.") from error


def _members(text: str, header: list[str] | None) -> dict[str, object]:
    """What a line says, by name; nothing for an empty field."""
    if header is not None:
        fields = _fields(text)
        if len(fields) != len(header):
            raise _Wrong(f"The line has {len(fields)} fields, the header {len(header)}.")
        return {name: field for name, field in zip(header, fields, strict=True) if field != ""}
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except msgspec.DecodeError as error:
        raise _Wrong(f"This is no JSON object: {error}.") from error
    except RecursionError as error:
        raise _Wrong("The line is nested too deeply.") from error


def _fields(text: str) -> list[str]:
    csv.field_size_limit(MAX_LINE)
    try:
        [fields] = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise _Wrong("This is no CSV: a quote does not close on its line, or stands where none may.") from error
    return fields


def _row(number: int, members: dict[str, object]) -> ManifestRow:
    try:
        line = msgspec.convert(members, Line)
        entity = EntityKey(
            parse_slug(line.workspace), parse_name(line.entity_type, "entity_type"), parse_entity_id(line.entity_id)
        )
        role, labels = parse_name(line.role, "role"), _labels(line)
        source_id = parse_labels(line.source_id, None, None).filename or ""
    except (msgspec.ValidationError, RefkeepError) as error:
        raise _Wrong(f"{str(error).removesuffix('.')}.") from error
    if source_id != line.source_id:
        raise _Wrong("A source_id has no space around it.")
    return ManifestRow(number, source_id, entity, role, _place(line), _location(line), labels, line.visibility)


def _labels(line: Line) -> Labels:
    filename = None if line.filename is None else clean_filename(line.filename)
    return parse_labels(filename, line.alt, line.owner)


def _place(line: Line) -> Place:
    """Where it belongs; a line that says nothing is the only one of its role."""
    if line.position is not None and line.order is not None:
        raise _Wrong("A line has a position or an order, not both.")
    if line.order is not None:
        if _ORDER.fullmatch(str(line.order)) is None:
            raise _Wrong(f"An order is a whole number of at most 18 digits; {str(line.order)[:80]!r} is not.")
        return Place(PlaceKind.ORDER, int(line.order))
    try:
        return Place(PlaceKind.POSITION, parse_position(str(line.position or 0)))
    except RefkeepError as error:
        raise _Wrong(str(error)) from error


def _location(line: Line) -> Location:
    if (line.path is None) == (line.url is None):
        raise _Wrong("A line has either a path or a url.")
    if _CONTROL.search(line.path or line.url or ""):
        raise _Wrong("A path or url holds no control characters.")
    if line.url is None:
        return Location(SourceKind.FILE, line.path or "")
    scheme = line.url.partition(":")[0].lower()
    if scheme not in {"http", "https", "data"}:
        raise _Wrong("A url begins with https:, http: or data:.")
    return Location(SourceKind.DATA if scheme == "data" else SourceKind.WEB, line.url)


def _mistake(number: int, raw: bytes, header: list[str] | None, sentence: str) -> Mistake:
    """The mistake, with the entity that it spoils as far as that can be read all the same."""
    reason = Reason("bad-line", sentence)
    try:
        members = _members(raw.replace(b"\0", b"").decode("utf-8", "replace"), header)
    except _Wrong:
        return Mistake(number, reason)
    return Mistake(number, reason, _entity(members), _source_id(members))


def _entity(members: Mapping[str, object]) -> EntityKey | None:
    workspace, type_, id_ = (_word(members.get(name)) for name in ("workspace", "entity_type", "entity_id"))
    try:
        return EntityKey(parse_slug(workspace), parse_name(type_, "entity_type"), parse_entity_id(id_))
    except RefkeepError:
        return None


def _word(member: object) -> str:
    """Text, or the number that somebody wrote in place of it; what is nested is neither, and may be nested deeply."""
    return str(member) if isinstance(member, str | int) else ""


def _source_id(members: Mapping[str, object]) -> str | None:
    source_id = members.get("source_id")
    return source_id[:200] if isinstance(source_id, str) else None
