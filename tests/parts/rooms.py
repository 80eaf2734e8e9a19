"""A small disk of a service's own: a tmpfs that only the service sees, and that ends with it."""

from __future__ import annotations

import errno
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
_WAYS = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def under_mount(folder: Path, size: str) -> list[str]:
    """What becomes the command behind it, for which `folder` is a new file system of `size`, as `4m`."""
    folder.mkdir(parents=True)
    return [*_way(), "sh", "-c", _MOUNT, "sh", size, str(folder)]


@cache
def _way() -> list[str]:
    for way in _WAYS:
        if (
            subprocess.run([*way, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False).returncode
            == 0
        ):
            return way
    raise RuntimeError("Neither root nor user namespaces can mount a tmpfs here.")


@dataclass(frozen=True)
class Room:
    """A look into the file systems of another process, from outside."""

    pid: int
    folder: Path

    @property
    def seen(self) -> Path:
        """The folder as that process sees it."""
        return Path(f"/proc/{self.pid}/root{self.folder}")

    def fill(self) -> None:
        """Leave no byte free."""
        with (self.seen / "filler").open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                self._write_until_full(file.fileno(), size)

    def clear(self) -> None:
        """Give the room back."""
        (self.seen / "filler").unlink()

    def _write_until_full(self, descriptor: int, size: int) -> None:
        try:
            while os.write(descriptor, bytes(size)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
