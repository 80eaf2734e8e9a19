"""Folders that survive a crash: made from the top, each synced into its parent before anything stands in it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Bring the names of `folder` to disk. Raises `OSError`."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Folders:
    """The folders under `root` that this process knows to be on disk. All methods block and raise `OSError`.

    A folder that merely exists is synced once nevertheless: the process that made it may not have come that far.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._on_disk = {root}

    def ensure_root(self) -> None:
        """Make the root and its missing parents."""
        missing = [folder for folder in (self._root, *self._root.parents) if not folder.is_dir()]
        for folder in reversed(missing):
            self._make(folder)

    def ensure(self, folder: Path) -> None:
        """Make `folder`, somewhere under the root; the root itself must exist."""
        if folder in self._on_disk:
            return
        self.ensure(folder.parent)
        self._make(folder)
        self._on_disk.add(folder)

    def forget(self) -> None:
        """Look anew at the next call: something went wrong, so someone may have removed a folder."""
        self._on_disk = {self._root}

    def _make(self, folder: Path) -> None:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        sync_folder(folder.parent)
