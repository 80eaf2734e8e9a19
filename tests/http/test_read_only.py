"""READ_ONLY: every write is refused in the same words, all reading goes on, and nothing is written anywhere.

The database takes no writes either, so that whoever tried one would be found out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

from service.adapters.filesystem.storage import FilesystemStorage
from service.domain.errors import StorageUnavailable
from tests.http.conftest import SIGNING_KEY
from tests.parts.blobs import files_under
from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.postgres import PostgresServer, session
from tests.parts.service import Refkeep, Yard, readiness, refkeep_here

PATHS = yaml.load((Path(__file__).parents[2] / "openapi.yaml").read_text(), yaml.CSafeLoader)["paths"]
METHODS = ("get", "head", "put", "post", "patch", "delete")
OPERATIONS = {
    operation["operationId"]: (method, path, "read-only" in str(operation["responses"].get("503")))
    for path, methods in PATHS.items()
    for method, operation in methods.items()
    if method in METHODS
}
REFUSED = {name for name, (*_, refused) in OPERATIONS.items() if refused}
WRITES = [name for name, (method, *_) in OPERATIONS.items() if name in REFUSED and method in METHODS[2:]]
MAKES = {"get_blob_preset", "head_blob_preset", "get_media_preset", "head_media_preset"}
"""What may have to be made before it is read."""
BRIEFLY = {"ORPHAN_RETENTION": "1ms", "QUARANTINE": "1ms", "GC_INTERVAL": "50ms"}


@dataclass
class Frozen:
    """A service that may not write, on what another one left: a public cover, a private file, an orphan."""

    service: Refkeep
    acme: Caller
    cover: dict[str, Any]
    file: dict[str, Any]
    content: bytes
    everything: tuple[set[str], list[str]]


@pytest.fixture(scope="module")
def frozen(yard: Yard) -> Iterator[Frozen]:
    with yard.postgres.database() as url:
        with yard.running(DATABASE_URL=url) as before:
            acme = before.caller("read", "write", "admin")
            content = fresh_jpeg()
            cover = acme.put("book/42/cover/0", content).json()["ref"]
            assert acme.http.get(f"/blobs/{cover['blob']['sha256']}/thumb.jpg").status_code == 200
            file = acme.post("document/7/file", fresh_text()).json()["ref"]
            acme.upload(fresh_text())
            operator = before.key(None, "read", "write", "admin", "operator")
        name = urlsplit(url).path.removeprefix("/")
        asyncio.run(_execute(yard.postgres, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        settings: dict[str, Any] = {"data_dir": before.data_dir, "SIGNING_KEYS": SIGNING_KEY, **BRIEFLY}
        with yard.running("serve", DATABASE_URL=url, READ_ONLY="true", **settings) as service:
            caller = service.bearer(operator, acme.workspace)
            caller.http.headers["workspace"] = acme.workspace
            yield Frozen(service, caller, cover, file, content, _everything(service))
            told = set(re.findall(r'"error_type":"(\w+)"', service.log.read_text()))
            assert told <= {"read_only", "not_found"}, "somebody tried to write"


async def _execute(server: PostgresServer, statement: str) -> None:
    async with session(server.dsn) as connection:
        await connection.execute(statement)


def _everything(service: Refkeep) -> tuple[set[str], list[str]]:
    """The files of the store, and every row of every table."""
    return files_under(service.data_dir / "blobs"), asyncio.run(_rows(str(service.database_url)))


async def _rows(url: str) -> list[str]:
    async with session(url) as connection:
        tables = await connection.fetch("SELECT relname FROM pg_stat_user_tables ORDER BY relname")
        return [str(await connection.fetch(f"SELECT xmin, * FROM {table['relname']}")) for table in tables]


def ask(frozen: Frozen, operation: str, **parts: str) -> httpx.Response:
    method, path, _ = OPERATIONS[operation]
    words = {
        "sha256": frozen.cover["blob"]["sha256"],
        "ref_id": frozen.cover["ref_id"],
        "entity_type": "book",
        "entity_id": "42",
        "role": "cover",
        "position": "0",
        "slug": frozen.acme.workspace,
        **parts,
    }
    target = re.sub(r"\{(\w+)\}", lambda found: words[found[1]], path)
    return frozen.acme.http.request(method, target)


def test_whatever_writes_is_told_of_in_the_api() -> None:
    unsaid = {"sign_media", "sign_media_list"}  # which give something away, and keep nothing
    wanted = {name for name, (method, *_) in OPERATIONS.items() if method in METHODS[2:]}
    assert set(WRITES) == wanted - unsaid
    assert REFUSED - set(WRITES) == MAKES


@pytest.mark.parametrize("operation", WRITES)
def test_a_write_is_refused_for_now_and_changes_nothing(frozen: Frozen, operation: str) -> None:
    refused = ask(frozen, operation)
    document = problem(refused, 503, "read-only")
    assert document["retryable"] is True
    assert "nothing was changed" in document["detail"]
    assert _everything(frozen.service) == frozen.everything


def test_a_rendition_is_served_where_it_was_made_before_and_not_made_now(frozen: Frozen) -> None:
    anyone = frozen.service.bearer(None).http
    for path in (f"/blobs/{frozen.cover['blob']['sha256']}", f"/media/{frozen.cover['ref_id']}/file"):
        assert anyone.get(f"{path}/thumb.jpg").headers["content-type"] == "image/jpeg"
        document = problem(anyone.get(f"{path}/thumb.webp"), 503, "read-only")
        assert document["retryable"] is True
    assert _everything(frozen.service) == frozen.everything


def test_delivery_lists_feed_and_signing_go_on(frozen: Frozen) -> None:
    anyone, sha256 = frozen.service.bearer(None), frozen.cover["blob"]["sha256"]
    assert readiness(frozen.service) == (200, {"database": "ok", "storage": "ok"})
    assert anyone.http.get(f"/blobs/{sha256}").content == frozen.content
    assert anyone.http.get(f"/media/{frozen.cover['ref_id']}/file", headers={"range": "bytes=0-9"}).status_code == 206
    for operation in ("get_blob_meta", "get_blob_why", "get_entity_refs", "get_role_refs", "get_media", "get_policy"):
        assert ask(frozen, operation).status_code == 200, operation
    for operation in ("get_media_list", "get_snapshot", "get_workspace", "get_metrics"):
        assert ask(frozen, operation).status_code == 200, operation
    assert ask(frozen, "get_hold").status_code == 404
    events = frozen.acme.http.get("/events").json()
    assert len(events["events"]) == 5, "three uploads and two refs"
    waited = frozen.acme.http.get("/events", params={"after": events["next"], "wait": "1"})
    assert waited.json()["events"] == []
    signed = frozen.acme.http.post(f"/media/{frozen.file['ref_id']}/sign", json={})
    assert anyone.http.get(signed.json()["url"]).status_code == 200
    assert _everything(frozen.service) == frozen.everything, "what was due has not been collected either"


def test_a_demo_is_not_made_where_nothing_may_be_written(tmp_path: Path) -> None:
    done = refkeep_here("dev", DATA_DIR=tmp_path / "data", READ_ONLY="true")
    assert (done.status, done.stderr) == (5, "Error: Nothing was changed: REFKEEP_READ_ONLY is set.\n")
    assert not (tmp_path / "data").exists()


@pytest.mark.anyio
async def test_a_store_that_cannot_be_written_is_well_for_whoever_only_reads(tmp_path: Path) -> None:
    root = tmp_path / "blobs"
    (root / "objects").mkdir(parents=True)
    (root / "staging").write_text("in the way of uploads")
    reading, writing = FilesystemStorage(root, read_only=True), FilesystemStorage(root)
    await reading.aopen()
    await reading.check()
    with pytest.raises(StorageUnavailable):
        await writing.aopen()
    (root / "objects").rename(root / "unmounted")
    (root / "objects").write_text("not mounted")
    with pytest.raises(StorageUnavailable):
        await reading.check()
