"""Cuts off clients that leave unread what was sent to them.

Granian sends files itself, out of the application's sight, and neither it nor ASGI sees a closed window. The kernel
does (`TCP_USER_TIMEOUT`, tcp(7)), and connections inherit what is set on their listener; but each worker's listener is
made in Rust once its application runs, so it is looked for among the open descriptors of the process.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

UNREAD_SECONDS = 60.0
"""How long a client may leave everything unread, or unacknowledged, before its connection ends."""

_LOOK_AGAIN_S = 0.02
_DESCRIPTORS = Path("/proc/self/fd")


def cut_unread(loop: asyncio.AbstractEventLoop, port: int, seconds: float = UNREAD_SECONDS) -> None:
    """From the moment on at which this process listens on `port`, end connections that are not read for `seconds`."""
    found = list(_sockets_on(port))
    for each in found:
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
    if not any(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for each in found):
        loop.call_later(_LOOK_AGAIN_S, cut_unread, loop, port, seconds)
    for each in found:
        each.close()


def _sockets_on(port: int) -> Iterator[socket.socket]:
    """Duplicates of this process's TCP sockets on a local port: its listener, and what that has accepted already."""
    for entry in list(_DESCRIPTORS.iterdir()):
        try:
            candidate = _duplicate(entry)
        except OSError:  # closed meanwhile
            continue
        if candidate is None:
            continue
        if _is_on(candidate, port):
            yield candidate
        else:
            candidate.close()


def _duplicate(entry: Path) -> socket.socket | None:
    if not str(entry.readlink()).startswith("socket:"):
        return None
    descriptor = os.dup(int(entry.name))
    try:
        return socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        raise


def _is_on(candidate: socket.socket, port: int) -> bool:
    is_tcp = candidate.family in {socket.AF_INET, socket.AF_INET6} and candidate.type == socket.SOCK_STREAM
    return is_tcp and candidate.getsockname()[1] == port
