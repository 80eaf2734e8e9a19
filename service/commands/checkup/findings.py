"""What a check finds, and how checks are kept apart: one that breaks, or hangs, hides no other."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


class Verdict(StrEnum):
    """`UNKNOWN` is what could not be looked at, because of a fault that is told."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it. No text holds a secret."""

    check: str
    verdict: Verdict
    says: str
    remedy: str | None = None


Look = Callable[[], Awaitable[Sequence[Finding]]]


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, Verdict.OK, says)


def warning(check: str, says: str, remedy: str) -> Finding:
    """It works, and is not as it should be."""
    return Finding(check, Verdict.WARNING, says, remedy)


def fault(check: str, says: str, remedy: str) -> Finding:
    """It does not work, or not safely."""
    return Finding(check, Verdict.FAULT, says, remedy)


def unknown(check: str, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, Verdict.UNKNOWN, why)


async def in_thread(look: Callable[[], T]) -> T:
    """What a check that blocks returns. Its thread keeps no process from its end, unlike those of the event loop."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[T] = loop.create_future()

    def tell(work: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(lambda: None if found.done() else work())

    def run() -> None:
        try:
            seen = look()
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            told = error
            tell(lambda: found.set_exception(told))
        else:
            tell(lambda: found.set_result(seen))

    Thread(target=run, name="refkeep-doctor", daemon=True).start()
    return await found


async def looked_at(check: str, seconds: float, look: Look) -> list[Finding]:
    """What `look` finds within `seconds`; else that it found nothing is what is found."""
    try:
        async with asyncio.timeout(seconds):
            return list(await look())
    except PermissionError as error:
        says = f"This user may not look at {error.filename or 'what it needs'}."
        return [fault(check, says, f"Run this as the user of the service, or sudo chown -R {os.geteuid()} its folder.")]
    except TimeoutError:
        return [fault(check, f"No answer within {seconds:.0f} s.", "See what keeps it: load, network, a hung disk.")]
    except Exception as error:  # noqa: BLE001 - whatever breaks in a check, the others have their say
        return [fault(check, f"This could not be looked at: {type(error).__name__}.", _REPORT)]


_REPORT = "Run `python -X dev -m service doctor` and report what it says: this is a defect."
