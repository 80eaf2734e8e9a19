"""Lines of a body that comes piece by piece.

They end where their format says, not where text may break: U+2028 inside a JSON string is no end of a line.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from refkeep_client.problems import Unexpected, Unreachable

MOST_BYTES = 4 * 1024 * 1024
"""No line of Refkeep's comes near; one without an end must not fill the memory."""


async def lines_of(pieces: AsyncIterable[bytes], *, whole: bool = False) -> AsyncIterator[bytes]:
    """Each line that a line feed ended, without it and without a carriage return before it.

    What stands behind the last one is no line: it was cut off, which is `Unreachable` where they must be `whole`.
    Raises `Unexpected` for a line of more than 4 MiB.
    """
    rest = bytearray()
    async for piece in pieces:
        *ended, last = piece.split(b"\n")
        for line in ended:
            rest += line
            yield bytes(rest).removesuffix(b"\r")
            rest.clear()
        rest += last
        if len(rest) > MOST_BYTES:
            raise Unexpected(f"A line goes on for more than {MOST_BYTES} bytes: this is nothing of Refkeep's.")
    if whole and rest:
        raise Unreachable("The answer ended in the middle of a line.")
