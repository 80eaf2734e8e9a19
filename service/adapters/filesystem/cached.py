"""Files that the kernel has at hand, opened and read without waiting, where it can say so (Linux 5.12 and later).

A worker thread costs ten times the work it is given when a file lies in memory; without one, a call that waits for a
disk would stop every other request. `openat2(2)` with `RESOLVE_CACHED` and `preadv2(2)` with `RWF_NOWAIT` do neither:
what would wait fails, and is left to a thread. On a file system of the network opening may wait all the same, so only
known local ones are asked.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_OPENAT2: Final = 437
"""The number of the system call, the same on all architectures."""
_AT_FDCWD: Final = -100
_RESOLVE_CACHED: Final = 0x20


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_HOW: Final = _OpenHow(os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0, _RESOLVE_CACHED)
_SIZE: Final = ctypes.c_size_t(ctypes.sizeof(_HOW))
_LOCAL: Final = frozenset({0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0x794C7630, 0x01021994})
"""ext2 to ext4, XFS, Btrfs, F2FS, ZFS, overlayfs, tmpfs: `f_type` of statfs(2)."""
_C: Final = ctypes.PyDLL(None)  # keeps the interpreter's lock: getting it back takes longer than such a call


def may_be_cached(folder: Path) -> bool:
    """Whether files below `folder` can be opened and read in this way."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    found = (ctypes.c_long * 64)()  # at least as large as any `struct statfs`, whose first member is the type
    return _C.statfs(os.fsencode(folder), found) == 0 and found[0] in _LOCAL


def open_cached(path: Path) -> int | None:
    """A descriptor of the file at `path` for reading; None where that could wait, or there is no such file."""
    number = _C.syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), ctypes.byref(_HOW), _SIZE)
    return None if number < 0 else int(number)


def is_at_hand(path: Path) -> bool:
    """Whether the file at `path` is there, as far as that can be said without waiting."""
    if (descriptor := open_cached(path)) is None:
        return False
    os.close(descriptor)
    return True


def read_cached(descriptor: int, size: int, offset: int) -> bytes | None:
    """Up to `size` bytes from `offset`, as many as are in memory; None for none, or where that cannot be said."""
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor, [buffer], offset, os.RWF_NOWAIT)
    except OSError:  # it would wait, or this file system cannot tell
        return None
    return bytes(memoryview(buffer)[:count]) if count else None
