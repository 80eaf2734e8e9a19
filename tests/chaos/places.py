"""Where the bytes are: a bucket, or a folder that all processes share; how it is told to them, and what is in it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.adapters.keys import is_key
from service.adapters.s3.client import S3Config
from service.application.guard_store import NOTES
from tests.parts.blobs import files_under
from tests.parts.buckets import emptied_bucket, physical_keys
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, running_seaweed

Kind = Literal["s3", "filesystem"]
_LONG_AGO = 0


@dataclass(frozen=True)
class Place:
    """`settings` are the service's, `shared` its one folder, None where each process has its own.

    `stored` are all names in the store but the sentinel's, `on_the_way` those of them that are no objects.
    """

    settings: dict[str, str]
    shared: Path | None
    stored: Callable[[], set[str]]

    def on_the_way(self) -> set[str]:
        """Attempts, stagings, uploads in parts: nothing that a row ever knew of."""
        return {name for name in self.stored() if not is_key(name)}


@contextlib.contextmanager
def opened_place(kind: Kind, folder: Path) -> Iterator[Place]:
    """An empty store."""
    if kind == "filesystem":
        yield _shared_folder(folder / "shared")
        return
    (folder / "weed").mkdir()
    with running_seaweed(folder / "weed") as server:
        yield _bucket(asyncio.run(emptied_bucket(server)))


def let_spools_age(folders: list[Path]) -> None:
    """Files on their way in whose owner died look abandoned from now on; the living hold a lock on theirs."""
    for folder in folders:
        for name in files_under(folder):
            if "objects/" not in name:
                with contextlib.suppress(FileNotFoundError):
                    os.utime(folder / name, (_LONG_AGO, _LONG_AGO))


def _shared_folder(data_dir: Path) -> Place:
    def stored() -> set[str]:
        files = {name.removeprefix("objects/") for name in files_under(data_dir / "blobs")}
        return files - NOTES

    return Place({"STORAGE": "filesystem"}, data_dir, stored)


def _bucket(config: S3Config) -> Place:
    settings = {
        "STORAGE": "s3",
        "S3_BUCKET": config.bucket,
        "S3_ENDPOINT_URL": str(config.endpoint_url),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    return Place(settings, None, lambda: asyncio.run(physical_keys(config)) - NOTES)
