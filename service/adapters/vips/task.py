"""What parent and child say to each other: JSON, one message a line.

JSON and not pickle, because a decoder that hostile bytes have taken over must not choose what its parent unpickles.
"""

from __future__ import annotations

import msgspec

READY = b"ready"
MAX_LINE = 4096


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a child begins: its parent's process id, bytes of address space, processor seconds a task, what to load."""

    parent: int
    memory_bytes: int
    cpu_seconds: int
    preload: str


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`function` is `module:name` of a `(Path, media_type) -> MediaInfo`; `path` is a local file."""

    function: str
    path: str
    media_type: str
