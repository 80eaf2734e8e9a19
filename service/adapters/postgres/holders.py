"""Events about bytes as such: one for the operators' record, and a copy for each workspace that holds the bytes."""

from __future__ import annotations

from collections.abc import Callable

from service.adapters.postgres.database import Connection, Row
from service.adapters.postgres.log import INSERT_EVENT, event_columns, event_place
from service.domain.event import Event

_HOLDERS = """SELECT w.id, w.slug FROM holdings h JOIN workspaces w ON w.id = h.workspace_id WHERE h.blob_id = $1
ORDER BY w.slug"""
_INSERT = f"{INSERT_EVENT} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"


async def tell_holders(
    connection: Connection, load: Row, event: Event, copy_for: Callable[[str], Event], first_seq: int = 0
) -> None:
    """Write the event, then the holders' copies by their names, at the places from `first_seq` on.

    `load` has the transaction's place in the log and the `blob_id`.
    """
    holders = await connection.fetch(_HOLDERS, load["blob_id"])
    records: list[tuple[int | None, Event]] = [(None, event)]
    records += [(row["id"], copy_for(row["slug"])) for row in holders]
    await connection.executemany(
        _INSERT,
        [event_columns(event_place(load, first_seq + seq), each, owner) for seq, (owner, each) in enumerate(records)],
    )
