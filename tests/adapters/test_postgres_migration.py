"""Migrations: each once, in order, all or none; and a schema that is not this release's is told apart."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from service.adapters.postgres import migration as migrations
from service.adapters.postgres.migration import Migration, SchemaError, known_migrations, migrate
from service.adapters.postgres.opening import open_database
from service.domain.errors import Unavailable
from tests.parts.ledgers import opened_database
from tests.parts.postgres import session

pytestmark = pytest.mark.anyio

ALL = [migration.name for migration in known_migrations()]
FROM_THE_FUTURE = "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later.sql', '')"


async def readiness(dsn: str) -> str:
    """What a process that starts now says of this database; nothing when all is well."""
    async with opened_database(dsn, 1) as database:
        try:
            await database.check()
        except Unavailable as error:
            return str(error)
        return ""


def test_files_are_numbered_from_1_without_a_gap() -> None:
    assert [migration.version for migration in known_migrations()] == list(range(1, len(ALL) + 1))


async def test_an_empty_database_gets_everything_once(empty_url: str) -> None:
    assert ", ".join(ALL) in await readiness(empty_url)
    assert await migrate({"dsn": empty_url}) == ALL
    assert await migrate({"dsn": empty_url}) == []
    assert await readiness(empty_url) == ""


async def test_of_many_that_migrate_at_once_one_does_it(empty_url: str) -> None:
    applied = await asyncio.gather(*(migrate({"dsn": empty_url}) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ALL]
    assert await readiness(empty_url) == ""


async def test_a_file_that_has_changed_since_is_refused(fresh_url: str) -> None:
    async with session(fresh_url) as connection:
        await connection.execute("UPDATE schema_migrations SET checksum = 'another' WHERE version = 1")
    with pytest.raises(SchemaError, match=ALL[0]):
        await migrate({"dsn": fresh_url})
    assert ALL[0] in await readiness(fresh_url)


async def test_the_schema_of_a_newer_release_is_refused(fresh_url: str) -> None:
    async with session(fresh_url) as connection:
        await connection.execute(FROM_THE_FUTURE)
    with pytest.raises(SchemaError, match="9999_later"):
        await migrate({"dsn": fresh_url})
    assert "9999_later" in await readiness(fresh_url)


async def test_a_file_that_fails_leaves_nothing_of_any(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration(len(ALL) + 1, "broken.sql", "CREATE TABLE half_done (); SELECT 1 / 0")
    monkeypatch.setattr(migrations, "known_migrations", lambda: [*known_migrations(), broken])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate({"dsn": empty_url})
    monkeypatch.undo()
    async with session(empty_url) as connection:
        assert await connection.fetch("SELECT FROM pg_tables WHERE schemaname = 'public'") == []
    assert await migrate({"dsn": empty_url}) == ALL


async def test_later_files_are_applied_to_an_older_schema(fresh_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    later = Migration(len(ALL) + 1, "later.sql", "CREATE TABLE later (); CREATE TABLE later_still ()")
    monkeypatch.setattr(migrations, "known_migrations", lambda: [*known_migrations(), later])
    assert "lacks later.sql" in await readiness(fresh_url)
    assert await migrate({"dsn": fresh_url}) == ["later.sql"]
    assert await readiness(fresh_url) == ""


async def test_a_process_waits_for_its_schema_and_goes_on_by_itself(empty_url: str) -> None:
    async with opened_database(empty_url, 1) as database:
        with pytest.raises(Unavailable, match=ALL[0]):
            await database.check()
        await migrate({"dsn": empty_url})
        await database.check()


async def test_readiness_says_when_nobody_answers(empty_url: str) -> None:
    database = await open_database({"dsn": empty_url, "host": "/nowhere"}, 1)
    with pytest.raises(Unavailable):
        await database.check()
    await database.aclose()
