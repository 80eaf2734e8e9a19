"""The workers of one service know each other: each has a number, and tells the others what it measures.

A scraper reaches any one of them. Without this it would read another worker's numbers at every scrape.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from typing import Final

_PATIENCE_S: Final = 1.0
_PIECE: Final = 65536
_CREDENTIALS: Final = struct.Struct("3i")
"""Of `SO_PEERCRED` (unix(7)): process, user, group."""


@dataclass(frozen=True, slots=True)
class Crew:
    """One worker's place among `size` of them: `number` is the lowest that was free, 0 where there is but one."""

    service: str
    size: int
    number: int = 0
    listener: socket.socket | None = None
    _answering: list[Thread] = field(default_factory=list, init=False, repr=False, compare=False)

    def tell(self, told: Callable[[], bytes]) -> None:
        """Answer the others with what `told` returns, in a thread of its own: the event loop may be busy."""
        if self.listener is not None:
            thread = Thread(target=_answer, args=(self.listener, told), name="refkeep-crew", daemon=True)
            self._answering.append(thread)
            thread.start()

    def leave(self) -> None:
        """End the answers. A place is free once nobody waits at it: who comes next may take it when this returns."""
        if self.listener is not None:
            with suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for the next one
        for thread in self._answering:
            thread.join(2 * _PATIENCE_S)

    def ask(self) -> list[bytes]:
        """What the others tell, each within a second; whoever is not there, or too late, is left out. Blocks."""
        answers = [self._ask(number) for number in range(self.size) if number != self.number]
        return [answer for answer in answers if answer]

    def _ask(self, number: int) -> bytes:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(_PATIENCE_S)
            wire.connect(_address(self.service, number))
            if _user(wire) == os.getuid():
                return b"".join(iter(lambda: wire.recv(_PIECE), b""))
        return b""


@contextmanager
def joined(service: str, size: int) -> Iterator[Crew]:
    """Take a place among the workers of `service`, a word that its main process made up, until the end of the block.

    Places are Linux's abstract socket addresses: no file is left behind, and the place of a worker that was killed is
    free at once.
    """
    if size == 1:
        yield Crew(service, size)
        return
    with socket.socket(socket.AF_UNIX) as listener:
        number = next(number for number in count() if _could_take(listener, _address(service, number)))
        listener.listen(size)
        crew = Crew(service, size, number, listener)
        try:
            yield crew
        finally:
            crew.leave()


def _address(service: str, number: int) -> str:
    return f"\0refkeep-{service}-{number}"


def _could_take(listener: socket.socket, address: str) -> bool:
    """Whether the place could be taken: nobody else has it."""
    try:
        listener.bind(address)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _user(wire: socket.socket) -> int:
    """Whose process answers: anybody on this host can listen at such an address."""
    told = wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(told)[1])


def _answer(listener: socket.socket, told: Callable[[], bytes]) -> None:
    while True:
        try:
            wire, _ = listener.accept()
        except OSError:
            return
        with suppress(OSError), wire:
            wire.settimeout(_PATIENCE_S)
            wire.sendall(told())
