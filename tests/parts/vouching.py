"""Whether events are what contracts/ says of their types: with all that is said of them, and nothing else."""

from __future__ import annotations

from functools import cache
from typing import Any

import asyncpg
import msgspec
from jsonschema_rs import Draft202012Validator, ValidationError

from service.ports.feed import LoggedEvent
from service.schemas.events import subject_of
from service.schemas.feed import cloud_event
from tests.promises.changes import Json
from tests.promises.events import closed, event_schemas, read_source
from tests.promises.samples import sample_events

_EVERYTHING = """
    SELECT epoch, txid, seq, type, time, entity_type, entity_id, encode(sha256, 'hex') AS sha256, data::text AS data
    FROM events"""


def vouch(event: Json) -> None:
    """Raise `AssertionError` unless the event fits the schema of its type, closed."""
    try:
        _validators()[event["type"]].validate(event)
    except ValidationError as error:
        raise AssertionError(f"{event['type']} at {'/'.join(map(str, error.instance_path))}: {error}") from error


async def vouch_for_all(database_url: str) -> int:
    """The same of every event that a database has, as the feed would send it; how many there are."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(_EVERYTHING)
    except asyncpg.UndefinedTableError:
        return 0  # a service that refused to migrate
    finally:
        await connection.close()
    for row in rows:
        vouch(_sent(row))
    return len(rows)


@cache
def _validators() -> dict[str, Any]:
    schemas = event_schemas(read_source(), sample_events())
    return {type_: Draft202012Validator(closed(schema)) for type_, schema in schemas.items()}


def _sent(row: asyncpg.Record) -> Json:
    subject = subject_of(row["entity_type"], row["entity_id"], row["sha256"])
    cursor = f"{row['epoch']}-{row['txid']:x}-{row['seq']}"
    event = cloud_event(LoggedEvent(cursor, row["type"], row["time"], subject, row["data"].encode()))
    return msgspec.json.decode(msgspec.json.encode(event))
