"""Lines of a body that comes piece by piece.

They end where their format says, not where text may break: U+2028 inside a JSON string is no end of a line.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator

from refkeep_client.problems import Unreachable


async def lines_of(pieces: AsyncIterable[bytes], *, whole: bool = False) -> AsyncIterator[bytes]:
    """Each line that a line feed ended, without it and without a carriage return before it.

    What stands behind the last one is no line: it was cut off, which is `Unreachable` where they must be `whole`.
    """
    rest = bytearray()
    async for piece in pieces:
        *ended, last = piece.split(b"\n")
        for line in ended:
            rest += line
            yield bytes(rest).removesuffix(b"\r")
            rest.clear()
        rest += last
    if whole and rest:
        raise Unreachable("The answer ended in the middle of a line.")
