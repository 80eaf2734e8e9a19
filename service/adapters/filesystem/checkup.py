"""A folder of blobs tried out: written, read and removed where uploads begin, so that nothing of it can stay."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

_BODY = b"probe"


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """`exists` says whether anything was ever stored here; `fault` is why a file cannot be written, read and removed.

    `apart` says that uploads begin on another file system than that of the objects, so that no rename gets them there.
    """

    exists: bool
    fault: str | None = None
    apart: bool = False


def try_out(root: Path) -> FolderFacts:
    """Look at the folders of `FilesystemStorage(root)`. Blocks."""
    objects, staging = root / "objects", root / "staging"
    if not objects.is_dir() or not staging.is_dir():
        return FolderFacts(exists=False)
    apart = objects.stat().st_dev != staging.stat().st_dev
    if not os.access(objects, os.R_OK | os.W_OK | os.X_OK):
        return FolderFacts(exists=True, fault=f"{objects} is not writable", apart=apart)
    try:
        _write_and_read(staging / uuid4().hex)
    except OSError as error:
        return FolderFacts(exists=True, fault=f"{staging}: {error.strerror}", apart=apart)
    return FolderFacts(exists=True, apart=apart)


def _write_and_read(path: Path) -> None:
    """What a killed process leaves of it is swept up with other uploads that never ended."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _BODY)
        os.fsync(descriptor)
        if os.pread(descriptor, len(_BODY), 0) != _BODY:
            raise OSError(0, "other bytes were read than were written")
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
