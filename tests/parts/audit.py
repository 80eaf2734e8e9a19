"""Is everything where it belongs? The tables against each other, against the log, and against the folder of bytes."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from service.adapters.postgres.archive import PostgresArchive
from service.adapters.postgres.database import Database
from service.application.guard_store import NOTES
from service.application.verify_log import VerifyLog
from tests.parts.blobs import files_under
from tests.parts.ledgers import opened_database

_BYTES = "SELECT b.sha256, b.size, o.key FROM blobs b LEFT JOIN objects o ON o.id = b.object_id AND o.state = 'live'"
_COUNTS = {
    "live objects without a blob": """SELECT count(*) FROM objects o LEFT JOIN blobs b ON b.object_id = o.id
        WHERE o.state = 'live' AND b.id IS NULL""",
    "refs without a holding of their blob": """SELECT count(*) FROM refs r LEFT JOIN blobs b ON b.id = r.blob_id
        LEFT JOIN holdings h ON h.blob_id = b.id AND h.workspace_id = r.workspace_id WHERE h.blob_id IS NULL""",
    "originals that are kept without a holding": """SELECT count(*) FROM refs r WHERE r.original_blob_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM holdings h
            WHERE h.blob_id = r.original_blob_id AND h.workspace_id = r.workspace_id)""",
    "roles with a gap": """SELECT count(*) FROM (
        SELECT FROM refs WHERE state = 'live' GROUP BY workspace_id, entity_type, entity_id, role
        HAVING max(position) <> count(*) - 1) AS broken""",
    "workspaces with a wrong use": """SELECT count(*) FROM workspaces w CROSS JOIN LATERAL (
        SELECT coalesce(sum(b.size), 0) AS bytes, count(*) AS items
        FROM holdings h JOIN blobs b ON b.id = h.blob_id WHERE h.workspace_id = w.id) AS held
        WHERE (w.used_bytes, w.used_items) <> (held.bytes, held.items)""",
}


def audit(dsn: str, objects: Path) -> list[str]:
    """What is wrong in a quiet system with its bytes under `objects`: nothing, or a sentence for every flaw."""

    async def run() -> list[str]:
        async with opened_database(dsn, 1) as database:
            return [
                *await _missing_bytes(database, objects),
                *await _unexplained_files(database, objects),
                *await ledger_flaws(database),
            ]

    return asyncio.run(run())


async def ledger_flaws(database: Database) -> list[str]:
    """What is wrong in the tables alone: with their ties to each other, or with what the log says of them."""
    return [*await _broken_ties(database), *await _unfaithful_log(database)]


async def _missing_bytes(database: Database, objects: Path) -> list[str]:
    """Every blob has a live object, whose file hashes to its name."""
    blobs = [(row["sha256"].hex(), row["size"], row["key"]) for row in await database.fetch(_BYTES)]
    return [
        f"the bytes of {sha256} are not in {key}"
        for sha256, size, key in blobs
        if key is None or not _holds(objects / key, size, sha256)
    ]


def _holds(path: Path, size: int, sha256: str) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


async def _unexplained_files(database: Database, objects: Path) -> list[str]:
    """Every file has a row, of whatever state: the row is what a later sweep goes by."""
    keys = {row["key"] for row in await database.fetch("SELECT key FROM objects")}
    return [f"{path} has no row" for path in sorted(files_under(objects) - keys - NOTES)]


async def _broken_ties(database: Database) -> list[str]:
    counts = {name: (await database.fetch(query))[0]["count"] for name, query in _COUNTS.items()}
    return [f"{count} {name}" for name, count in counts.items() if count]


async def _unfaithful_log(database: Database) -> list[str]:
    """Folding the log makes the tables."""
    findings = [finding async for finding in VerifyLog(PostgresArchive(database))()]
    differences = [finding.difference for finding in findings if finding.difference is not None]
    return [f"{each.what} {each.subject}: {each.detail}" for each in differences]
