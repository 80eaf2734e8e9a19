"""`multipart/form-data` as a stream (RFC 7578): a few text parts, then one file, handed on as it comes."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from service.domain.errors import BadRequest
from service.router.filenames import part_filename

FILE = "file"
FIELDS = frozenset({"sha256", "filename", "alt", "owner", "visibility", "position"})
FIELD_LIMIT = 4096

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TRANSPARENT_ENCODINGS = frozenset({"7bit", "8bit", "binary"})

_Event = MultipartSegment | bytes | None
_Events = AsyncGenerator[_Event, None]


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form whose text parts have been read and whose file is about to be.

    `fields` are the text parts by name, `filename` and `media_type` what the sender claims of the file. Iterate `file`
    once and to its end before committing anything: only there is it known that the form was whole and held nothing
    else, and `BadRequest` raised otherwise.
    """

    fields: Mapping[str, str]
    filename: str | None
    media_type: str | None
    file: AsyncIterator[bytes]


def is_form(content_type: str | None) -> bool:
    """Whether the request says that its body is a form with a file."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() == "multipart/form-data"


async def open_form(
    content_type: str, chunks: AsyncIterator[bytes], known: frozenset[str] = FIELDS, field_limit: int = FIELD_LIMIT
) -> UploadForm:
    """Read the text parts and stop at the first byte of the part named `file`.

    Names outside `known`, a name sent twice, text that is no UTF-8 or exceeds `field_limit` bytes, a form without a
    file, and anything malformed raise `BadRequest`; what `chunks` raises passes through. What follows the closing
    boundary is ignored (RFC 2046 §5.1.1), nothing may precede the first one.
    """
    boundary = _boundary_of(content_type)
    events = _events(PushMultipartParser(boundary), _from_first_boundary(chunks, b"--" + boundary.encode()))
    fields: dict[str, str] = {}
    async for part in events:
        assert isinstance(part, MultipartSegment)  # noqa: S101 (after a part's end the parser announces the next)
        _check_encoding(part)
        if part.name == FILE:
            return _form(fields, part, events)
        name = _field_name(part, known, fields)
        fields[name] = await _text(name, events, field_limit)
    raise BadRequest("The form has no part named file.")


def _form(fields: Mapping[str, str], part: MultipartSegment, events: _Events) -> UploadForm:
    filename = part_filename(_header(part, "Content-Disposition"), part.filename)
    nothing_chosen = part.filename == ""
    return UploadForm(fields, filename, _header(part, "Content-Type") or None, _file(events, nothing_chosen))


async def _file(events: _Events, nothing_chosen: bool) -> AsyncGenerator[bytes, None]:
    empty = True
    async for event in events:
        if not isinstance(event, bytes):
            break
        empty = False
        yield event
    async for after in events:
        raise BadRequest(_surplus(after))
    if empty and nothing_chosen:
        raise BadRequest("The form was sent with no file chosen.")


def _surplus(event: _Event) -> str:
    if isinstance(event, MultipartSegment) and event.name == FILE:
        return "The form has two parts named file; send one file per request."
    return "Text parts stand before the part named file; the form has a part after it."


async def _text(name: str, events: _Events, limit: int) -> str:
    received = bytearray()
    async for event in events:
        if not isinstance(event, bytes):
            break
        received += event
        if len(received) > limit:
            raise BadRequest(f"The part {name} exceeds {limit} bytes.")
    try:
        return received.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The part {name} is no UTF-8.") from error


def _field_name(part: MultipartSegment, known: frozenset[str], seen: Mapping[str, str]) -> str:
    name = part.name or ""
    if name not in known:
        raise BadRequest(f"The form has an unknown part {name[:80]!r}; known are {', '.join(sorted(known | {FILE}))}.")
    if name in seen:
        raise BadRequest(f"The form has two parts named {name}.")
    return name


def _check_encoding(part: MultipartSegment) -> None:
    encoding = _header(part, "Content-Transfer-Encoding").strip().lower()
    if encoding and encoding not in _TRANSPARENT_ENCODINGS:
        raise BadRequest("Parts are sent as they are: Content-Transfer-Encoding is deprecated (RFC 7578 §4.7).")


def _header(part: MultipartSegment, name: str) -> str:
    return next((value for header, value in part.headerlist if header == name), "")


def _boundary_of(content_type: str) -> str:
    boundary = parse_options_header(content_type)[1].get("boundary", "")  # type: ignore[no-untyped-call]
    if _BOUNDARY.fullmatch(boundary) is None:
        raise BadRequest("Content-Type has no valid boundary (RFC 2046 §5.1.1).")
    return str(boundary)


async def _from_first_boundary(chunks: AsyncIterator[bytes], opening: bytes) -> AsyncGenerator[bytes, None]:
    """Pass the body on once it begins with its boundary: the parser's verdict on a preamble depends on the chunks."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= len(opening) + 2:
            break
    if not head.removeprefix(b"\r\n").startswith(opening):
        raise BadRequest("The body does not begin with the boundary that Content-Type names.")
    yield head
    async for chunk in chunks:
        yield chunk


async def _events(parser: PushMultipartParser, chunks: AsyncIterator[bytes]) -> _Events:
    async for chunk in chunks:
        with _malformed():
            events = list(parser.parse(chunk))
        for event in events:
            yield event
    with _malformed():
        parser.close()  # type: ignore[no-untyped-call]


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except MultipartError as error:
        raise BadRequest(f"The form is malformed: {error}.") from error
