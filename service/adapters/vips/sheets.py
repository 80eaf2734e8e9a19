"""Contact sheets of renditions, for people who look rather than read."""

from __future__ import annotations

import os
from collections.abc import Sequence

import anyio.to_thread
import msgspec

from service.adapters.vips.lane import Bounds, Lane
from service.adapters.vips.orders import Drawn, SheetOrder
from service.adapters.vips.task import MAX_LINE, Task
from service.ports.renderer import Rendered

_DRAW = "service.adapters.vips.sheet"
MOST = 32
"""Pictures on one sheet: what is asked of a child fits into a line."""


async def draw_sheet(tiles: Sequence[tuple[Rendered, Sequence[str]]]) -> bytes:
    """A PNG of the first `MOST` pictures with their captions, of which plain letters are shown.

    Raises `ChildLost` when it cannot be drawn, `ProbeUnavailable` when no process can be started to do it.
    """
    chosen = tiles[:MOST]
    order = SheetOrder([[str(len(made.content)), *(each[:24] for each in captions)] for made, captions in chosen])
    raw = msgspec.Raw(msgspec.json.encode(order))
    assert len(raw) < MAX_LINE - 256  # noqa: S101 - MOST and the length of captions see to it
    source, sink = os.memfd_create("tiles"), os.memfd_create("sheet")
    lane = Lane(Bounds(children=1, file_bytes=64 << 20), _DRAW, sealed=True)
    try:
        await anyio.to_thread.run_sync(os.write, source, b"".join(made.content for made, _ in chosen))
        drawn = await lane.carry_out(Task(f"{_DRAW}:draw_sheet", "image/png", order=raw), Drawn, (source, sink))
        return await anyio.to_thread.run_sync(os.pread, sink, drawn.length, 0)
    finally:
        os.close(source)
        os.close(sink)
        await lane.aclose()
