"""What only a store of files has to get right."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import resource
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from service.adapters.filesystem.cached import is_at_hand, may_be_cached, open_cached, read_cached
from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.spool import os_errors
from service.domain.errors import ObjectMissing, StorageFull, StorageUnavailable
from tests.parts.blobs import MIB, files_under, get, key_for, keys, noise, put, put_large, read
from tests.parts.memory import peak_memory_reset

pytestmark = pytest.mark.anyio


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
async def storage(root: Path) -> AsyncIterator[FilesystemStorage]:
    storage = FilesystemStorage(root)
    await storage.aopen()
    yield storage
    await storage.aclose()


@pytest.fixture
def at_most_two_mebibytes_a_file() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- who may read -----------------------------------------------------------------------------------------------------


async def test_files_and_folders_are_for_their_owner_alone(storage: FilesystemStorage, root: Path) -> None:
    await put(storage, b"private")
    assert {mode_of(path) for path in root.rglob("*") if path.is_file()} == {0o600}
    assert {mode_of(path) for path in (root, *root.rglob("*")) if path.is_dir()} == {0o700}


async def test_the_mode_of_a_folder_that_was_there_is_never_changed(root: Path) -> None:
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    storage = FilesystemStorage(root)
    await storage.aopen()
    await put(storage, b"content")
    assert mode_of(root) == 0o755


async def test_opening_a_store_again_finds_what_it_held(storage: FilesystemStorage, root: Path) -> None:
    key = await put(storage, b"still here")
    again = FilesystemStorage(root)
    await again.aopen()
    assert await get(again, key) == b"still here"


# --- durable, in order ------------------------------------------------------------------------------------------------


async def test_a_commit_always_takes_the_same_steps(
    storage: FilesystemStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_rename, real_mkdir = os.fsync, Path.rename, Path.mkdir

    def name(path: str | Path) -> str:
        relative = str(Path(path).relative_to(root))
        return "staged" if relative.startswith("staging/") else relative

    def fsync(fd: int) -> None:
        steps.append(f"sync {name(Path(f'/proc/self/fd/{fd}').readlink())}")
        real_fsync(fd)

    def rename(self: Path, target: Path) -> Path:
        steps.append(f"rename {name(self)} {name(target)}")
        return real_rename(self, target)

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        steps.append(f"mkdir {name(self)}")
        real_mkdir(self, mode, parents, exist_ok)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    key = await put(storage, b"content")
    first, second = f"objects/{key[:2]}", f"objects/{key[:5]}"
    ending = [f"rename staged objects/{key}", f"sync {second}"]
    assert steps == ["sync staged", f"mkdir {first}", "sync objects", f"mkdir {second}", f"sync {first}", *ending]
    steps.clear()
    key = await put(storage, b"content")
    assert steps == ["sync staged", f"rename staged objects/{key}", f"sync {second}"]


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("code", "expected"),
    [(errno.EIO, StorageUnavailable), (errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull)],
)
async def test_a_failed_sync_is_a_failed_upload(
    storage: FilesystemStorage,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
    code: int,
    expected: type[Exception],
) -> None:
    calls = iter(range(1, 100))
    real_fsync = os.fsync

    def fsync(fd: int) -> None:
        if next(calls) == failing:
            raise OSError(code, os.strerror(code))
        real_fsync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(expected):
        await put(storage, b"content")
    assert files_under(root / "staging") == set()
    assert await get(storage, await put(storage, b"content")) == b"content"


async def test_a_commit_survives_that_someone_removed_empty_folders(storage: FilesystemStorage, root: Path) -> None:
    key = await put(storage, b"content")
    await storage.delete(key)
    (root / "objects" / key[:5]).rmdir()
    with pytest.raises(StorageUnavailable):
        await put(storage, b"content")
    assert await get(storage, await put(storage, b"content")) == b"content"


async def test_a_file_in_the_place_of_a_folder_fails_the_commit_and_leaves_nothing(
    storage: FilesystemStorage, root: Path
) -> None:
    key = key_for(hashlib.sha256(b"content").hexdigest())
    (root / "objects" / key[:2]).write_bytes(b"in the way")
    with pytest.raises(StorageUnavailable):
        await put(storage, b"content")
    assert files_under(root) == {f"objects/{key[:2]}"}


async def test_a_write_beyond_the_room_is_storage_full(
    storage: FilesystemStorage, root: Path, at_most_two_mebibytes_a_file: None
) -> None:
    staged = await storage.stage()
    with pytest.raises(StorageFull):
        for _ in range(4):
            await staged.write(noise(MIB))
    with pytest.raises(StorageUnavailable):
        await staged.commit(key_for("ab" * 32))
    assert files_under(root) == set()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_are_storage_full(code: int) -> None:
    with pytest.raises(StorageFull), os_errors():
        raise OSError(code, os.strerror(code))


def test_the_sentence_of_an_error_names_no_path(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable) as raised, os_errors():
        (tmp_path / "absent").open()
    assert str(tmp_path) not in str(raised.value)


async def test_a_store_that_was_never_made_takes_nothing(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path / "unmounted")
    with pytest.raises(StorageUnavailable):
        await put(storage, b"content")
    assert files_under(tmp_path) == set()
    assert not (tmp_path / "unmounted").exists()


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_a_whole_object_has_a_path_for_the_server_to_send(storage: FilesystemStorage, root: Path) -> None:
    key = await put(storage, b"content")
    for offset, length in ((0, None), (0, 7), (0, 100)):
        stream = await storage.open(key, offset, length)
        assert stream.path == root / "objects" / key
        await stream.aclose()


@pytest.mark.parametrize("may_be_cached", [True, False])
async def test_bytes_are_the_same_with_and_without_a_thread(
    root: Path, monkeypatch: pytest.MonkeyPatch, *, may_be_cached: bool
) -> None:
    monkeypatch.setattr("service.adapters.filesystem.storage.may_be_cached", lambda _: may_be_cached)
    storage, content = FilesystemStorage(root), noise(3 * MIB + 5)
    await storage.aopen()
    key = await put(storage, content)
    for offset, length in ((0, None), (1, 10), (MIB, 2 * MIB), (len(content) - 1, 9), (len(content), 1)):
        end = len(content) if length is None else offset + length
        assert await read(await storage.open(key, offset, length)) == content[offset:end]
    (root / "objects" / key).unlink()
    with pytest.raises(ObjectMissing):
        await storage.open(key)


async def test_files_in_memory_need_no_thread_where_the_file_system_is_local(tmp_path: Path) -> None:
    assert may_be_cached(tmp_path)
    assert not may_be_cached(Path("/proc"))
    assert not may_be_cached(tmp_path / "absent")
    (tmp_path / "file").write_bytes(b"content")
    descriptor = open_cached(tmp_path / "file")
    assert descriptor is not None
    assert read_cached(descriptor, 4, 3) in {b"tent", None}  # None where this file system never says
    os.close(descriptor)
    assert (is_at_hand(tmp_path / "file"), is_at_hand(tmp_path / "absent")) == (True, False)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert open_cached(tmp_path / "link") is None


async def test_a_file_cut_short_while_it_is_read_never_looks_complete(storage: FilesystemStorage, root: Path) -> None:
    key = await put(storage, noise(3 * MIB))
    stream = await storage.open(key)
    os.truncate(root / "objects" / key, 2 * MIB)
    with pytest.raises(StorageUnavailable):
        await read(stream)


async def test_a_folder_under_a_key_is_no_absence(storage: FilesystemStorage, root: Path) -> None:
    key = key_for("ab" * 32)
    (root / "objects" / key).mkdir(parents=True)
    descriptors = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(StorageUnavailable):
        await storage.open(key)
    assert len([*Path("/proc/self/fd").iterdir()]) == descriptors


async def test_a_link_is_never_followed(storage: FilesystemStorage, root: Path, tmp_path: Path) -> None:
    key = await put(storage, b"content")
    (tmp_path / "secret").write_text("secret")
    (root / "objects" / key).unlink()
    (root / "objects" / key).symlink_to(tmp_path / "secret")
    with pytest.raises(StorageUnavailable):
        await storage.open(key)
    assert await keys(storage) == []


async def test_a_file_in_the_place_of_the_root_is_no_absence(storage: FilesystemStorage, root: Path) -> None:
    key = await put(storage, b"content")
    root.rename(root.parent / "aside")
    root.write_bytes(b"not a folder")
    with pytest.raises(StorageUnavailable):
        await storage.open(key)
    with pytest.raises(StorageUnavailable):
        await storage.delete(key)


async def test_what_is_no_object_is_not_listed(storage: FilesystemStorage, root: Path) -> None:
    key = await put(storage, b"content")
    folder = (root / "objects" / key).parent
    (folder / "README").write_text("a note")
    (folder / key_for("ab" * 32).rpartition("/")[2]).write_bytes(b"in the wrong folder")
    (folder / (key.rpartition("/")[2] + ".tmp")).write_bytes(b"")
    (root / "objects" / "lost+found").mkdir()
    assert await keys(storage) == [key]


async def test_a_large_object_passes_through_little_memory(storage: FilesystemStorage) -> None:
    with peak_memory_reset() as growth:
        key = await put_large(storage, 128)
        async for _chunk in (stream := await storage.open(key)):
            pass
        await stream.aclose()
    assert growth() < 32 * MIB


# --- after a crash ----------------------------------------------------------------------------------------------------


async def test_the_uploads_of_a_killed_process_are_swept_up(storage: FilesystemStorage, root: Path) -> None:
    with dying_uploader(root) as killed:
        killed.kill()
    assert len(files_under(root / "staging")) == 1
    assert await storage.sweep_abandoned(older_than=0) == 1
    assert files_under(root) == set()


async def test_the_uploads_of_a_living_process_are_left_alone(storage: FilesystemStorage, root: Path) -> None:
    with dying_uploader(root) as alive:
        assert await storage.sweep_abandoned(older_than=0) == 0
        assert len(files_under(root / "staging")) == 1
        alive.kill()


async def test_an_own_upload_is_left_alone(storage: FilesystemStorage) -> None:
    staged = await storage.stage()
    await staged.write(b"content")
    await staged.flush()
    assert await storage.sweep_abandoned(older_than=0) == 0
    key = key_for(hashlib.sha256(b"content").hexdigest())
    await staged.commit(key)
    assert await get(storage, key) == b"content"


async def test_a_young_file_may_be_one_whose_owner_has_yet_to_lock_it(storage: FilesystemStorage, root: Path) -> None:
    (root / "staging" / "young").write_bytes(b"")
    (root / "staging" / "old").write_bytes(b"")
    os.utime(root / "staging" / "old", (0, 0))
    assert await storage.sweep_abandoned() == 1
    assert files_under(root) == {"staging/young"}


async def test_a_cancelled_commit_is_whole_or_absent(storage: FilesystemStorage, root: Path) -> None:
    for number in range(40):
        content = noise(100_000, number)
        staged = await storage.stage()
        await staged.write(content)
        task = asyncio.create_task(staged.commit(key_for(hashlib.sha256(content).hexdigest())))
        for _ in range(number % 8):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
    assert files_under(root / "staging") == set()
    for key in await keys(storage):
        assert hashlib.sha256(await get(storage, key)).hexdigest() == key[6:70]


class dying_uploader:  # noqa: N801 (reads as a word at its call)
    """A process in the middle of an upload to `root`."""

    PROGRAM = """
import asyncio, pathlib, sys
from service.adapters.filesystem.cached import is_at_hand, may_be_cached, open_cached, read_cached
from service.adapters.filesystem.storage import FilesystemStorage

async def main():
    staged = await FilesystemStorage(pathlib.Path(sys.argv[1])).stage()
    await staged.write(b"half")
    await staged.flush()
    print("staged", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.PROGRAM, str(self._root)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"staged\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
