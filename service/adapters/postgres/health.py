"""Whether this Postgres can be worked with."""

from __future__ import annotations

from dataclasses import dataclass

from service.adapters.postgres.database import Database
from service.adapters.postgres.migration import SchemaError, pending_migrations
from service.domain.errors import Unavailable


@dataclass(slots=True)
class PostgresHealth:
    """The part `database` of readiness; a schema once found right stays right while this process runs."""

    database: Database
    _schema_is_current: bool = False

    async def check(self) -> None:
        """Raises `Unavailable` when nobody answers or the schema is not this release's."""
        if self._schema_is_current:
            await self.database.fetchrow("SELECT 1")
            return
        async with self.database.connection() as connection:
            try:
                pending = await pending_migrations(connection)
            except SchemaError as error:
                raise Unavailable(str(error)) from error
        if pending:
            raise Unavailable(f"The schema lacks {', '.join(pending)}: run `refkeep migrate`, or start with --migrate.")
        self._schema_is_current = True
