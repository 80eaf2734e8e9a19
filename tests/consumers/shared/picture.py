"""The picture of a form: passed on while it comes, kept on disk for a second try, never whole in memory."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from tests.consumers.shared.refusals import bad_form, too_large

MAX_BYTES = 100 * 2**20
_PIECE = 64 * 1024

_Event = MultipartSegment | bytes | None


@dataclass
class Picture:
    """A file that grows while its form is being read; `descriptor` is of an unnamed file, gone with the process."""

    filename: str | None
    media_type: str | None
    descriptor: int
    size: int = 0
    is_whole: bool = False
    failure: Exception | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def pieces(self) -> AsyncIterator[bytes]:
        """All bytes from the first, at every call, as far behind their sender as need be.

        Raises what ended the form before its end.
        """
        position = 0
        while True:
            while position < self.size:
                piece = os.pread(self.descriptor, _PIECE, position)
                position += len(piece)
                yield piece
            if self.failure is not None:
                raise self.failure
            if self.is_whole:
                return
            self._news.clear()
            await self._news.wait()

    def grow(self, piece: bytes) -> None:
        """Keep what came next. Raises the refusal of what no picture needs."""
        if self.size + len(piece) > MAX_BYTES:
            raise too_large(MAX_BYTES)
        os.pwrite(self.descriptor, piece, self.size)
        self.size += len(piece)
        self._news.set()

    def end(self, failure: Exception | None) -> None:
        """Nothing more will come."""
        self.is_whole, self.failure = failure is None, failure
        self._news.set()


@asynccontextmanager
async def received_picture(content_type: str, body: AsyncIterator[bytes]) -> AsyncIterator[Picture]:
    """The part `file` of a form, once it has begun; the rest is read meanwhile.

    Raises the refusal of a form that begins otherwise. What is wrong further behind is raised by whoever reads it.
    """
    with tempfile.TemporaryFile(buffering=0) as file:
        form = _Form(content_type, file.fileno())
        while form.picture is None:
            form.read(await _next(body))
        reading = asyncio.create_task(form.read_on(form.picture, body))
        try:
            yield form.picture
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


class _Form:
    """`multipart/form-data` (RFC 7578) with one part, named `file`."""

    def __init__(self, content_type: str, descriptor: int) -> None:
        media_type, options = parse_options_header(content_type)  # type: ignore[no-untyped-call]
        if media_type != "multipart/form-data" or not options.get("boundary"):
            raise bad_form("Send multipart/form-data with one part named file.")
        self._parser = PushMultipartParser(options["boundary"], strict=True)
        self._descriptor = descriptor
        self.picture: Picture | None = None

    async def read_on(self, picture: Picture, body: AsyncIterator[bytes]) -> None:
        """Read to the end and tell it to the picture, whatever it is."""
        failure: Exception | None = None
        try:
            while not self._parser.closed:
                self.read(await _next(body))
        except Exception as error:  # noqa: BLE001 (it is raised by whoever reads the picture)
            failure = error
        picture.end(failure)

    def read(self, chunk: bytes) -> None:
        """Take a piece of the body in; an empty one is its end."""
        try:
            for event in self._parser.parse(chunk):
                self._take(event)
        except MultipartError as error:
            raise bad_form(f"The form is malformed: {error}.") from error
        if not chunk and self.picture is None:
            raise bad_form("The form has no part named file.")

    def _take(self, event: _Event) -> None:
        if isinstance(event, MultipartSegment):
            if event.name != "file" or self.picture is not None:
                raise bad_form("The form has another part than one named file.")
            self.picture = Picture(event.filename or None, event.content_type or None, self._descriptor)
        elif event and self.picture is not None:
            self.picture.grow(event)


async def _next(body: AsyncIterator[bytes]) -> bytes:
    return await anext(body, b"")
