"""The objects of a folder in key order: every level has names of one length, so folder by folder is key by key."""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

from service.adapters.keys import is_key
from service.adapters.spool import os_errors
from service.adapters.threads import in_thread
from service.ports.storage import StoredObject

_LEVEL = re.compile(r"[0-9a-f]{2}")


async def list_objects(root: Path, after: str) -> AsyncIterator[StoredObject]:
    """Yield the objects under `root` with keys greater than `after`; raises `StorageUnavailable`."""
    for top in await _levels(root, "", after):
        for folder in await _levels(root, top, after):
            with os_errors():
                stored = await in_thread(lambda folder=folder: list(_objects_in(root, folder, after)))  # type: ignore[misc]
            for found in stored:
                yield found


async def _levels(root: Path, prefix: str, after: str) -> list[str]:
    """The prefixes one level below `prefix`, sorted, without those that hold only keys up to `after`."""
    with os_errors():
        names = await in_thread(lambda: [path.name for path in (root / prefix).iterdir()])
    prefixes = (f"{prefix}{name}/" for name in sorted(names) if _LEVEL.fullmatch(name))
    return [each for each in prefixes if each > after or after.startswith(each)]


def _objects_in(root: Path, prefix: str, after: str) -> Iterator[StoredObject]:
    for key in sorted(prefix + path.name for path in (root / prefix).iterdir()):
        if key > after and is_key(key) and (found := _stored(root, key)) is not None:
            yield found


def _stored(root: Path, key: str) -> StoredObject | None:
    try:
        status = (root / key).lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return StoredObject(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
