"""The database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from service.adapters.postgres.database import Database


@dataclass(frozen=True, slots=True)
class PostgresClock:
    """`Clock` on Postgres."""

    database: Database

    async def ago(self, age: timedelta) -> datetime:
        """See the port."""
        rows = await self.database.fetch("SELECT refkeep_now() - $1::interval AS moment", age)
        moment: datetime = rows[0]["moment"]
        return moment
