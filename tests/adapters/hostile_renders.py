"""What hostile bytes could make a rendering child do; the preset's name says what. Loaded before it is sealed."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec

from service.adapters.vips.orders import Described, Drawn, NormaliseOrder, RenderOrder
from service.domain.blob import MediaInfo
from service.domain.placeholder import Placeholder
from tests.adapters import hostile_tasks

_FINE = Drawn(MediaInfo("image/webp", 1, 1, 1, readable=True), 16)
_NOWHERE = Path("/nonexistent")


def render(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:
    """Do what the preset is called after."""
    name = msgspec.json.decode(order, type=RenderOrder).preset.name
    if name in _MISCHIEFS:
        _MISCHIEFS[name](sink)
    elif name != "fine":
        return Drawn(getattr(hostile_tasks, name)(_NOWHERE, media_type), 16)
    os.pwrite(sink, b"RIFF\x08\0\0\0WEBPVP8 ", 0)
    return _FINE


def _flood(sink: int) -> None:
    """Hand over more than is allowed, a MiB at a time."""
    for number in range(1 << 20):
        os.pwrite(sink, bytes(1 << 20), number << 20)


def _denied(attempt: Callable[[], object]) -> None:
    """What succeeds, or fails for another reason, ends the child."""
    try:
        attempt()
    except PermissionError:
        return
    raise AssertionError


def _open_files(_sink: int) -> None:
    for path in ("/etc/passwd", "/proc/self/environ", "/dev/null", __file__):
        _denied(lambda path=path: os.open(path, os.O_RDONLY))  # type: ignore[misc]
    _denied(lambda: os.open("/tmp/scribbled", os.O_WRONLY | os.O_CREAT))
    _denied(lambda: [*Path("/").iterdir()])
    _denied(lambda: os.memfd_create("more"))
    _denied(Path("/tmp/anything").unlink)


def _open_sockets(_sink: int) -> None:
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        _denied(lambda family=family: socket.socket(family))  # type: ignore[misc]
    _denied(socket.socketpair)


def _start_processes(_sink: int) -> None:
    _denied(os.fork)
    _denied(lambda: os.execv("/bin/true", ["true"]))
    _denied(lambda: os.kill(os.getppid(), 0))
    _denied(lambda: subprocess.run(["true"], check=False))


_MISCHIEFS = {"flood": _flood, "files": _open_files, "sockets": _open_sockets, "processes": _start_processes}


def describe(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Described:
    """Say what is no placeholder."""
    return Described(Placeholder("AAAAAAAA", "red;}</style><script>", 1.0))


def normalise(source: int, sink: int, media_type: str, order: msgspec.Raw) -> Drawn:
    """Hand over a page; by how long an edge may be, call it a picture, or what it is."""
    edge = msgspec.json.decode(order, type=NormaliseOrder).normalisation.max_edge
    os.pwrite(sink, b"<script>alert(1)</script>", 0)
    if edge == 1:
        return Drawn(MediaInfo("image/png", 1, 1, 1, readable=True), 25)
    if edge == 2:
        return Drawn(MediaInfo("text/html", 1, 1, 1, readable=True), 25)
    os.pwrite(sink, b"\x89PNG\r\n\x1a\n" + bytes(17), 0)
    return Drawn(MediaInfo("image/png", 1 << 40, 1, 1, readable=True), 25)
