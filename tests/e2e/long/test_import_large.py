"""An import of 10,000 rows, killed twice and given again. Beside it, how long it takes and what it keeps in memory."""

from __future__ import annotations

import asyncio
import json
import resource
from pathlib import Path

import pytest

from tests.parts.killed_import import KilledImport
from tests.parts.postgres import PostgresServer
from tests.parts.service import fetch


@pytest.mark.timeout(3600)
def test_10000_rows_killed_twice_are_there_once_and_in_order(
    postgres: PostgresServer, migrated: str, tmp_path: Path
) -> None:
    with postgres.database(migrated) as dsn:
        asyncio.run(fetch(dsn, "INSERT INTO workspaces (slug) VALUES ('demo')"))
        killed = KilledImport(tmp_path, dsn, rows=10_000, per_entity=5)
        killed.write()
        first = killed.kill_at(2500)
        second = killed.kill_at(6000)
        assert 2500 <= first < 6000 <= second < 10_000, "it was killed in the middle"
        done, seconds = killed.finish("--json")
        assert done.status == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["counts"] == {"noop": second, "imported": 10_000 - second}
        assert killed.differences() == []
        print(f"\nthe last {10_000 - second} rows, {second} noops before: {seconds:.0f} s")  # noqa: T201
        again, seconds = killed.finish("--json")
        assert json.loads(again.stdout)["counts"] == {"noop": 10_000}
        print(f"10,000 noops: {seconds:.0f} s")  # noqa: T201


@pytest.mark.timeout(3600)
def test_10000_rows_at_once_take_little_memory(postgres: PostgresServer, migrated: str, tmp_path: Path) -> None:
    with postgres.database(migrated) as dsn:
        asyncio.run(fetch(dsn, "INSERT INTO workspaces (slug) VALUES ('demo')"))
        whole = KilledImport(tmp_path, dsn, rows=10_000, per_entity=5)
        whole.write()
        done, seconds = whole.finish("--json")
        assert (done.status, json.loads(done.stdout)["counts"]) == (0, {"imported": 10_000}), done.stderr
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"\n10,000 rows: {seconds:.0f} s, {10_000 / seconds:.0f} a second, {largest:.0f} MiB at most")  # noqa: T201
        assert largest < 300
