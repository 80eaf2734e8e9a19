"""Where a command finds Postgres: the configured one, a running embedded one, or one started for the command alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from service.commands.output import settings_of_environment

if TYPE_CHECKING:
    from service.adapters.postgres.database import Database
    from service.settings import Settings

T = TypeVar("T")


@contextmanager
def reachable_postgres(settings: Settings) -> Iterator[str]:
    """Yield a URL that answers for as long as the block runs. Raises `EmbeddedPostgresError`."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    from service.adapters.postgres.embedded import embedded_postgres

    with embedded_postgres(settings.data_dir, join=True) as url:
        yield url


def with_database(work: Callable[[Database], Awaitable[T]], connections: int = 1) -> T:
    """What `work` returns, on a database of the settings that is open meanwhile. Raises as that does."""
    import asyncio

    from service.adapters.postgres.opening import open_database

    async def work_on(url: str) -> T:
        database = await open_database({"dsn": url}, connections)
        try:
            return await work(database)
        finally:
            await database.aclose()

    with reachable_postgres(settings_of_environment()) as url:
        return asyncio.run(work_on(url))
