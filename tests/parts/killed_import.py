"""An import as a process of its own that is killed, and what must be there when one of them has come to its end."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import opened_database
from tests.parts.manifests import as_csv, line, picture
from tests.parts.postgres import session
from tests.parts.service import REFKEEP, Done, environment, fetch

_PATIENCE_S = 900

_LIVE = """SELECT r.entity_id, r.position, encode(b.sha256, 'hex') AS name
    FROM refs r JOIN blobs b ON b.id = r.blob_id WHERE r.state = 'live' ORDER BY r.entity_id, r.position"""


@dataclass(frozen=True)
class KilledImport:
    """A manifest of `rows` pictures, `per_entity` of them in order for each entity, in a folder of its own."""

    folder: Path
    database_url: str
    rows: int
    per_entity: int

    @property
    def manifest(self) -> Path:
        """The manifest, whose lines come in no order."""
        return self.folder / "manifest.csv"

    def write(self) -> None:
        """Write the manifest and its pictures."""
        (self.folder / "pictures").mkdir()
        for number in range(self.rows):
            (self.folder / f"pictures/{number}.png").write_bytes(picture(number))
        found = [self._line(number) for number in range(self.rows)]
        self.manifest.write_bytes(as_csv(Random(self.rows).sample(found, self.rows)))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """`refkeep import`, which somebody must end."""
        command = [REFKEEP, "import", str(self.manifest), *words]
        settings = environment(DATABASE_URL=self.database_url, DATA_DIR=self.folder / "data")
        return subprocess.Popen(
            command, env=settings, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def kill_at(self, refs: int) -> int:
        """Start it, and kill it as soon as there are so many refs; how many there are then."""
        process = self.start()
        try:
            asyncio.run(self._reached(refs, process))
            assert process.poll() is None, process.communicate()
        finally:
            process.kill()
            process.communicate(timeout=60)
        asyncio.run(self._alone())
        return self.count()

    def finish(self, *words: str) -> tuple[Done, float]:
        """Let it come to its end; what it said, and its seconds."""
        began = time.monotonic()
        process = self.start(*words)
        try:
            stdout, stderr = process.communicate(timeout=1800)
        finally:
            process.kill()
            process.wait()
        return Done(process.returncode, stdout, stderr), time.monotonic() - began

    def count(self) -> int:
        """How many refs there are."""
        [row] = self.sql("SELECT count(*) AS n FROM refs")
        return int(row["n"])

    def sql(self, query: str) -> Sequence[dict[str, Any]]:
        """What the database says."""
        return [dict(row) for row in asyncio.run(fetch(self.database_url, query))]

    def differences(self) -> list[str]:
        """What is not as it must be at the end: each entity has its pictures once and in order, and nobody else any."""
        expected = sorted(
            (f"m{number // self.per_entity:06}", number % self.per_entity, hashlib.sha256(picture(number)).hexdigest())
            for number in range(self.rows)
        )
        found = [(row["entity_id"], row["position"], row["name"]) for row in self.sql(_LIVE)]
        wrong = [f"{entry} is not there" for entry in expected if entry not in {*found}]
        wrong += [] if found == expected else [f"{len(found)} refs are not the {len(expected)} of the manifest"]
        return [*wrong[:10], *asyncio.run(self._flaws())]

    async def _reached(self, refs: int, process: subprocess.Popen[str]) -> None:
        """Return once there are so many refs, or the process has ended."""
        async with asyncio.timeout(_PATIENCE_S), session(self.database_url) as connection:
            look = "SELECT (SELECT count(*) FROM refs), pg_sleep(0.05)"
            while process.poll() is None and await connection.fetchval(look) < refs:
                pass

    async def _alone(self) -> None:
        """Return once Postgres has ended what the process that was killed had asked it to commit."""
        others = """SELECT count(*), pg_stat_clear_snapshot() FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()"""
        async with asyncio.timeout(60), session(self.database_url) as connection:
            while await connection.fetchval(others):
                pass

    async def _flaws(self) -> list[str]:
        async with opened_database(self.database_url, 1) as database:
            return await ledger_flaws(database)

    def _line(self, number: int) -> dict[str, object]:
        entity, place = divmod(number, self.per_entity)
        return line(number, entity_id=f"m{entity:06}", order=place * 10, path=f"pictures/{number}.png")
