"""Where a command finds Postgres: the configured one, a running embedded one, or one started for the command alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from service.adapters.postgres.embedded import embedded_postgres
from service.settings import Settings


@contextmanager
def reachable_postgres(settings: Settings) -> Iterator[str]:
    """Yield a URL that answers for as long as the block runs. Raises `EmbeddedPostgresError`."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    with embedded_postgres(settings.data_dir, join=True) as url:
        yield url
