"""PostgreSQL 18 from a wheel, run as this process's own child in a folder of its own.

Postgres starts inside its cluster folder and knows it as /proc/self/cwd, so that it works below folders that its user
may not traverse. It has no TCP socket; its Unix socket lies in the cluster, which is 0700.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import asyncpg

from service.adapters.postgres.embedded_account import (
    Account,
    EmbeddedPostgresError,
    account_for,
    discard_copy,
    installation_for,
)

SUPERUSER = "refkeep"

_HERE = "/proc/self/cwd"
_MAX_SOCKET_FOLDER = 100 - len("/.s.PGSQL.5432")
_MAX_LOG_BYTES = 16 * 2**20
_READY_S = 60.0
_PREDECESSOR_S = 15.0
_FAST_STOP_S = 10.0
_IMMEDIATE_STOP_S = 5.0
_POLL_S = 0.005
_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_directories": ".",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "refkeep",
}
_INITDB = (
    f"--pgdata={_HERE}",
    f"--username={SUPERUSER}",
    "--auth-local=trust",
    "--auth-host=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class DataDirInUse(EmbeddedPostgresError):
    """Another process runs the Postgres of this folder."""


class EmbeddedPostgres:
    """One Postgres server on `data_dir`: the cluster in `postgres/`, its log in `postgres.log`.

    Start it from the main thread, which it does not outlive, and before that process forks.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "postgres"
        self._log = self._data_dir / "postgres.log"
        self._lock: int | None = None
        self._folder: int | None = None
        self._installation: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        """Where asyncpg connects; valid in this process and in those that it forks."""
        return f"postgresql://{SUPERUSER}@/postgres?host={quote(self._socket_folder(), safe='')}"

    def start(self) -> None:
        """Make the cluster if there is none, start the server and return when it answers.

        A predecessor that is still stopping is waited for. Raises `DataDirInUse` while another process runs this
        folder's server, `EmbeddedPostgresError` when the server cannot be started.
        """
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _lock(self._data_dir / "postgres.lock")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def has_ended(self) -> bool:
        """Whether the server that was started is gone."""
        return self._process is not None and self._process.poll() is not None

    def start_again(self) -> None:
        """Start the server that has ended, from a thread that it does not outlive. Raises as `start` does."""
        if self._installation is not None:
            self._process = self._launch(account_for(self._cluster), self._installation)
            self._await_ready(self._process)

    def last_words(self) -> str:
        """Where its log is, and how it ends."""
        return f"{self._log} says: {_last_line(self._log)}"

    def stop(self) -> None:
        """Stop the server: fast, then without a checkpoint, then by force; every wait is bounded. Idempotent."""
        if self._process is not None:
            _stop(self._process)
            self._process = None
        if self._installation is not None:
            discard_copy(self._installation, self._data_dir)
        for descriptor in (self._folder, self._lock):
            if descriptor is not None:
                os.close(descriptor)
        self._folder = self._lock = self._installation = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self) -> None:
        account = account_for(self._cluster)
        self._installation = installation_for(account, self._data_dir)
        if not self._cluster.exists():
            self._make_cluster(account, self._installation)
        self._process = self._launch(account, self._installation)
        self._await_ready(self._process)

    def _make_cluster(self, account: Account, installation: Path) -> None:
        # Under another name until it is whole: what an interrupted initdb leaves is never taken for a cluster.
        unfinished = self._data_dir / "postgres.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        if account.switches:
            os.chown(unfinished, account.uid, account.gid)
        command = account.command(str(installation / "bin/initdb"), *_INITDB)
        done = subprocess.run(command, cwd=unfinished, env=_ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            message = f"initdb failed: {done.stderr.strip()}"
            raise EmbeddedPostgresError(message)
        unfinished.rename(self._cluster)
        _sync(self._data_dir)

    def _launch(self, account: Account, installation: Path) -> subprocess.Popen[bytes]:
        options = [f"--{name}={value}" for name, value in _OPTIONS.items()]
        command = account.command(str(installation / "bin/postgres"), "-D", _HERE, *options, death_signal="INT")
        lease = _lease(self._cluster)
        log = _open_log(self._log)
        try:
            # A session of its own: Ctrl-C reaches the whole group of a terminal, and the database stops last.
            return subprocess.Popen(
                command,
                cwd=self._cluster,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(lease,),
                start_new_session=True,
            )
        finally:
            os.close(lease)
            os.close(log)

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _READY_S
        while not asyncio.run(_answers(self.dsn)):
            if process.poll() is not None:
                message = f"Postgres ended at its start; {self.last_words()}"
                raise EmbeddedPostgresError(message)
            if time.monotonic() > deadline:
                message = f"Postgres does not answer after {_READY_S:.0f} s; see {self._log}."
                raise EmbeddedPostgresError(message)
            time.sleep(_POLL_S)

    def _socket_folder(self) -> str:
        path = str(self._cluster)
        if len(os.fsencode(path)) <= _MAX_SOCKET_FOLDER and "," not in path:
            return path
        # A Unix socket's path ends at 107 bytes, and a driver splits hosts at commas; an open folder has a short name.
        if self._folder is None:
            self._folder = os.open(self._cluster, os.O_PATH | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder}"


@contextmanager
def embedded_postgres(data_dir: Path, *, join: bool = False) -> Iterator[str]:
    """Run the server of `data_dir` meanwhile and yield its DSN; with `join`, use the one that another process runs."""
    server = EmbeddedPostgres(data_dir)
    try:
        server.start()
    except DataDirInUse:
        if not join or not asyncio.run(_answers(server.dsn)):
            raise
    try:
        yield server.dsn
    finally:
        server.stop()


def _lock(path: Path) -> int:
    """Hold `path` for this process alone: a POSIX lock, which forks do not inherit and which ends with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(descriptor, 20, 0).decode().strip()
        os.close(descriptor)
        message = f"{path.parent} is in use by process {owner or 'unknown'}; give this one another REFKEEP_DATA_DIR."
        raise DataDirInUse(message) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _lease(cluster: Path) -> int:
    """Lock `cluster` for the server and its children, who inherit it: it is free once the last of them is gone."""
    descriptor = os.open(cluster, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + _PREDECESSOR_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                os.close(descriptor)
                message = f"An earlier Postgres still runs in {cluster}; its pid is in postmaster.pid there."
                raise EmbeddedPostgresError(message) from error
            time.sleep(_POLL_S)
        else:
            return descriptor


def _stop(process: subprocess.Popen[bytes]) -> None:
    for request, patience in ((signal.SIGINT, _FAST_STOP_S), (signal.SIGQUIT, _IMMEDIATE_STOP_S)):
        process.send_signal(request)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return
    process.kill()
    process.wait()


async def _answers(dsn: str) -> bool:
    try:
        connection = await asyncpg.connect(dsn, timeout=5)
    except (OSError, asyncpg.CannotConnectNowError):
        return False
    await connection.close()
    return True


def _open_log(path: Path) -> int:
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.rename(path.with_suffix(".log.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "nothing"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
