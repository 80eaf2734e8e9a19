"""What parent and child say to each other: JSON, one message a line, over the socket that is the child's input.

JSON and not pickle, because a decoder that hostile bytes have taken over must not choose what its parent unpickles.
Open files come along with the message (SCM_RIGHTS), so that a child need not be able to open any.
"""

from __future__ import annotations

import msgspec

READY = b"ready"
MAX_LINE = 4096


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a child begins.

    Its parent's process id, bytes of address space, processor seconds a task, what to load; bytes that it may write
    into a file, how nice it is, and whether it is sealed once it has loaded.
    """

    parent: int
    memory_bytes: int
    cpu_seconds: int
    preload: str
    file_bytes: int = 0
    niceness: int = 0
    sealed: bool = False


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`function` is `module:name`.

    With a `path`, of a local file, the function is a `(Path, media_type) -> MediaInfo`. With an `order`, of what the
    function knows, it is a `(source, sink, media_type, order)` on the two open files that come along.
    """

    function: str
    media_type: str
    path: str = ""
    order: msgspec.Raw = msgspec.Raw(b"null")
