"""A broken object gives way to a whole one: inside the transaction that brings it."""

from __future__ import annotations

from service.adapters.postgres.database import Connection, Row
from service.adapters.postgres.integrity import record_health
from service.domain.blob import Sha256
from service.domain.health import Health
from service.domain.health_decision import REPAIR, HealthState, decide_health

MAKE_LIVE = "UPDATE objects SET state = 'live' WHERE id = $1 AND state = 'pending'"
_REPLACE = "UPDATE blobs SET object_id = $2 WHERE id = $1"
_CONDEMN = "UPDATE objects SET state = 'condemned', delete_after = refkeep_now() WHERE id = $1"


def is_marked(load: Row) -> bool:
    """Whether the blob of a load is there and marked."""
    return load["health"] not in {None, Health.OK.value}


async def heal(connection: Connection, load: Row, sha256: Sha256, object_id: int, first_seq: int = 0) -> None:
    """Let the blob of a load show this live object, condemn the broken one, tell every holder.

    `load` has `now`, the transaction's place, and of the blob `blob_id`, `object_id` and `health`. Who sent the bytes
    is not told: it may be a workspace that the others do not know of.
    """
    await connection.execute(_REPLACE, load["blob_id"], object_id)
    await connection.execute(_CONDEMN, load["object_id"])
    event = decide_health(HealthState(load["now"], sha256, Health(load["health"])), Health.OK, REPAIR)
    if event is not None:
        await record_health(connection, load, event, first_seq)
