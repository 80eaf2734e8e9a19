"""What hostile bytes could make a decoder do, as tasks for a lane. Runs in the child."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from service.domain.blob import MediaInfo

_hurt: list[bool] = []


def answer(path: Path, media_type: str) -> MediaInfo:
    """Do nothing wrong."""
    return MediaInfo(media_type, readable=True)


def spin(path: Path, media_type: str) -> MediaInfo:
    """Use the processor for ever."""
    _say_that_it_began(path)
    while True:
        pass


def wait(path: Path, media_type: str) -> MediaInfo:
    """Wait for ever, without using the processor."""
    _say_that_it_began(path)
    signal.pause()
    return answer(path, media_type)


def _say_that_it_began(path: Path) -> None:
    if path.is_fifo():
        os.close(os.open(path, os.O_WRONLY))


def crash(path: Path, media_type: str) -> MediaInfo:
    """Read where nothing is."""
    ctypes.string_at(0)
    return answer(path, media_type)


def balloon(path: Path, media_type: str) -> MediaInfo:
    """Take all the memory there is, 64 MiB at a time."""
    taken = []
    while True:
        taken.append(bytearray(64 << 20))


def chatter(path: Path, media_type: str) -> MediaInfo:
    """Print a MiB to both outputs, as C libraries do."""
    os.write(1, b"x" * (1 << 20))
    os.write(2, b"x" * (1 << 20))
    return answer(path, media_type)


def babble(path: Path, media_type: str) -> MediaInfo:
    """Answer with far more than an answer."""
    return MediaInfo("x" * 1_000_000)


def scribble(path: Path, media_type: str) -> MediaInfo:
    """Write a file."""
    path.with_suffix(".written").write_bytes(b"anything")
    return answer(path, media_type)


def tell_environment(path: Path, media_type: str) -> MediaInfo:
    """Name the variables that this process can see."""
    return MediaInfo(" ".join(sorted(os.environ)))


def tell_pid(path: Path, media_type: str) -> MediaInfo:
    """Name this process."""
    return MediaInfo(str(os.getpid()))


def die_if_used_before(path: Path, media_type: str) -> MediaInfo:
    """Die of what earlier bytes did to this process."""
    if _hurt:
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(60)
    _hurt.append(True)
    return answer(path, media_type)
