"""The child process: one line of JSON in, one line out, until its input ends. Started by `lane`.

Nothing is caught here: whatever goes wrong ends the process, and that is an answer too.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from service.adapters.vips.confine import allow_cpu, confine
from service.adapters.vips.task import READY, Start, Task
from service.domain.blob import MediaInfo


def main() -> None:
    """Confine the process, load the decoders, then work."""
    start = msgspec.json.decode(sys.argv[1], type=Start)
    confine(start.parent, start.memory_bytes)
    answers = _take_stdout()
    importlib.import_module(start.preload)
    _say(answers, READY)
    for line in sys.stdin.buffer:
        allow_cpu(start.cpu_seconds)
        _say(answers, msgspec.json.encode(_carry_out(msgspec.json.decode(line, type=Task))))


def _carry_out(task: Task) -> MediaInfo:
    module, _, function = task.function.partition(":")
    return cast(MediaInfo, getattr(importlib.import_module(module), function)(Path(task.path), task.media_type))


def _take_stdout() -> BinaryIO:
    """Keep the pipe for answers; what a library prints goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return answers


def _say(answers: BinaryIO, line: bytes) -> None:
    answers.write(line + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
