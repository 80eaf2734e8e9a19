"""An import that is killed twice and given again, quickly; test_import_large.py has 10,000 rows and measures."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from tests.parts.killed_import import KilledImport
from tests.parts.postgres import PostgresServer
from tests.parts.service import fetch


def test_killed_twice_and_given_again_it_has_every_row_once_and_in_order(
    postgres: PostgresServer, migrated: str, tmp_path: Path
) -> None:
    with postgres.database(migrated) as dsn:
        asyncio.run(fetch(dsn, "INSERT INTO workspaces (slug) VALUES ('demo')"))
        killed = KilledImport(tmp_path, dsn, rows=300, per_entity=6)
        killed.write()
        first = killed.kill_at(40)
        second = killed.kill_at(first + 60)
        assert 40 <= first < second < 300, "it was killed in the middle"
        assert first % 6 == second % 6 == 0, "an entity is there whole or not at all"
        done, _ = killed.finish("--json")
        assert done.status == 0, done.stderr
        told = json.loads(done.stdout)
        assert told["counts"] == {"noop": second, "imported": 300 - second}
        assert killed.differences() == []
        assert [row["state"] for row in killed.sql("SELECT state FROM imports")] == ["done"]
        [actor] = {row["actor"] for row in killed.sql("SELECT data->>'actor' AS actor FROM events")}
        assert actor == f"import:{told['run']}"
