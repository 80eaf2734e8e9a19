"""Work that comes again and again in the background of a worker, for as long as it serves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from service.drain import Drain

Turn = Callable[[], Awaitable[bool]]
"""One round, on record by itself; True when there is more of it to do at once."""

_MOST_DOUBLINGS = 4


@asynccontextmanager
async def in_rounds(turn: Turn, interval: timedelta, drain: Drain) -> AsyncIterator[None]:
    """Call `turn` for as long as the block runs and no drain has begun; a running one is cancelled then.

    The first comes at once, the next after about `interval`, so that replicas started together come apart; after
    failures ever later.
    """
    rounds = asyncio.create_task(_rounds(turn, interval.total_seconds()))
    stopping = asyncio.create_task(_stop_at(drain, rounds))
    try:
        yield
    finally:
        stopping.cancel()
        rounds.cancel()
        await asyncio.wait([stopping, rounds])


def pause_after(failures: int, interval: float, luck: float) -> float:
    """Seconds until the next round: the interval, doubled for each failure in a row up to 16 of it, ± half.

    `luck` is any number from 0 to 1.
    """
    return 2.0 ** min(failures, _MOST_DOUBLINGS) * interval * (0.5 + luck)


async def _rounds(turn: Turn, interval: float) -> None:
    failures = 0
    while True:
        more = False
        try:
            more = await turn()
            failures = 0
        except Exception:  # noqa: BLE001 - on record by the turn itself; the next round must come whatever broke
            failures += 1
        luck = random.random()  # noqa: S311 - spreads replicas, guards nothing
        await asyncio.sleep(0 if more else pause_after(failures, interval, luck))


async def _stop_at(drain: Drain, rounds: asyncio.Task[None]) -> None:
    await drain.wait()
    rounds.cancel()
    with suppress(asyncio.CancelledError):
        await rounds
