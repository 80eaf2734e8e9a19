"""Server-sent events (WHATWG HTML §9.2.6), those parts that Refkeep sends."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass

from refkeep_client.lines import MOST_BYTES
from refkeep_client.problems import Unexpected


@dataclass(frozen=True, slots=True)
class Message:
    """A block of a stream: `id` is where to go on from, `data` None where it says nothing else."""

    id: str | None
    data: bytes | None


async def messages_of(lines: AsyncIterable[bytes]) -> AsyncIterator[Message]:
    """Each block that an empty line ended; comments and unknown fields are left out.

    Raises `Unexpected` for one of more than 4 MiB.
    """
    id_: str | None = None
    data: list[bytes] = []
    size = 0
    async for line in lines:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"id" if line and b"\0" not in value:
                id_ = value.decode(errors="replace")
            case b"data":
                data.append(value)
                size += len(value) + 1
                if size > MOST_BYTES:
                    raise Unexpected(
                        f"An event goes on for more than {MOST_BYTES} bytes: this is nothing of Refkeep's."
                    )
            case b"" if not line:
                if id_ is not None or data:
                    yield Message(id_, b"\n".join(data) if data else None)
                id_, data, size = None, [], 0
