"""The child process: one line of JSON in, one line out, until its input ends. Started by `lane`.

Nothing is caught here: whatever goes wrong ends the process, and that is an answer too.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from service.adapters.vips.confine import allow_cpu, confine, seal
from service.adapters.vips.task import MAX_LINE, READY, Start, Task


def main() -> None:
    """Confine the process, load the decoders, then work."""
    start = msgspec.json.decode(sys.argv[1], type=Start)
    confine(start.parent, start.memory_bytes, start.file_bytes)
    os.nice(start.niceness)
    channel = socket.socket(fileno=os.dup(0))
    importlib.import_module(start.preload)
    if start.sealed:
        seal()
    _say(channel, READY)
    for line, files in _messages(channel):
        allow_cpu(start.cpu_seconds)
        _say(channel, msgspec.json.encode(_carry_out(msgspec.json.decode(line, type=Task), files)))
        for file in files:
            os.close(file)


def _messages(channel: socket.socket) -> Iterator[tuple[bytes, list[int]]]:
    """Yield each line with the open files that came along; the parent says the next when it has heard the answer."""
    line, files = b"", list[int]()
    while True:
        piece, handed, _, _ = socket.recv_fds(channel, MAX_LINE, 2)
        line, files = line + piece, files + handed
        if line.endswith(b"\n"):
            yield line, files
            line, files = b"", []
        elif not piece:
            return


def _carry_out(task: Task, files: Sequence[int]) -> object:
    module, _, name = task.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    if task.path:
        return function(Path(task.path), task.media_type)
    return function(*files, task.media_type, task.order)


def _say(channel: socket.socket, line: bytes) -> None:
    channel.sendall(line + b"\n")


if __name__ == "__main__":
    main()
