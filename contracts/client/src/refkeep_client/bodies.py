"""One upload's body, which may have to be sent more than once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from hashlib import sha256

from refkeep_client.content import Content, Source, source_of
from refkeep_client.options import BodyOptions, Progress


@dataclass(slots=True)
class Body:
    """Content on its way out: counted, hashed and told of while it is sent.

    `named` is the SHA-256 that it is said to have, `found` the one that it has, once it has been sent whole.
    """

    source: Source
    progress: Progress | None = None
    named: str | None = None
    sent: int = 0
    found: str | None = field(default=None, init=False)
    _most_sent: int = field(default=0, init=False)

    @property
    def begun(self) -> bool:
        """Whether a byte of it was ever taken."""
        return self._most_sent > 0

    @property
    def repeatable(self) -> bool:
        """Whether it can be sent from its beginning, again or for the first time."""
        return self.source.rewindable or not self.begun

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """All of it, from the beginning. Raises `ValueError` where it is not as long as it was."""
        digest, self.sent, self.found = sha256(), 0, None
        self._tell()
        async with aclosing(self.source.read()) as pieces:
            async for piece in pieces:
                if not piece:
                    continue
                digest.update(piece)
                self._count(len(piece))
                yield piece
                self._tell()
        self._check_length()
        self.found = digest.hexdigest()

    def _count(self, size: int) -> None:
        self.sent += size
        self._most_sent = max(self._most_sent, self.sent)
        if self.source.size is not None and self.sent > self.source.size:
            raise ValueError(f"The content has more than the {self.source.size} bytes that it should have.")

    def _check_length(self) -> None:
        expected = self._most_sent if self.source.size is None else self.source.size
        if self.sent < expected:
            raise ValueError(f"The content ended after {self.sent} of {expected} bytes: did it change?")

    def _tell(self) -> None:
        if self.progress is not None:
            self.progress(self.sent, self.source.size)


def body_of(content: Content, options: BodyOptions, sha256: str | None = None) -> Body:
    """A body of this content. Raises `TypeError` for what is no content."""
    return Body(source_of(content, options.get("size")), options.get("progress"), sha256)


async def named_body(content: Content, options: BodyOptions) -> Body:
    """The same, read once before it is sent, to name it and to know its size. Raises `ValueError` for an iterator."""
    body = body_of(content, options)
    if not body.source.rewindable:
        raise ValueError("This content can be read only once: give its sha256, or use send().")
    digest, size = sha256(), 0
    async with aclosing(body.source.read()) as pieces:
        async for piece in pieces:
            digest.update(piece)
            size += len(piece)
    return Body(replace(body.source, size=size), body.progress, digest.hexdigest())
