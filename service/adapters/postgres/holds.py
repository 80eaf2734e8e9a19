"""Holds on Postgres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from service.adapters.postgres.claims import NOBODYS, attempt, claim_lock, replay_of, store_answer
from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.holders import tell_holders
from service.adapters.postgres.locks import lock_of
from service.adapters.postgres.log import PLACE
from service.domain.blob import Sha256
from service.domain.event import DecisionKind, EventType, HoldEvent
from service.domain.hold import Hold, HoldKind
from service.domain.hold_decision import HoldState, copy_for
from service.observability import observed
from service.ports.holds import HoldJudge, HoldOutcome
from service.ports.idempotency import Claim, Replay

_HOLD = "h.kind, h.status, h.reason, h.actor, h.placed_at"
_LOAD = f"""
SELECT refkeep_now() AS now, {PLACE}, {_HOLD}, b.id AS blob_id, i.fingerprint, i.answer
FROM (SELECT 1) AS one
LEFT JOIN holds h ON h.sha256 = $1
LEFT JOIN blobs b ON b.sha256 = $1
LEFT JOIN idempotency i ON i.workspace_id = {NOBODYS} AND i.key = $2
"""
_PLACE = """
INSERT INTO holds (sha256, kind, status, reason, actor, placed_at, blob_id) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (sha256) DO UPDATE
SET kind = EXCLUDED.kind, status = EXCLUDED.status, reason = EXCLUDED.reason, actor = EXCLUDED.actor
"""


@dataclass(frozen=True, slots=True)
class PostgresHolds:
    """`HoldLedger` on Postgres."""

    database: Database

    @observed("holds.find", layer="repo", span_name="SELECT holds")
    async def find(self, sha256: Sha256) -> Hold | None:
        """See the port."""
        row = await self.database.fetchrow(f"SELECT {_HOLD} FROM holds h WHERE sha256 = $1", bytes.fromhex(sha256))
        return None if row is None else _to_hold(sha256, row)

    @observed("holds.change", layer="repo", span_name="WRITE holds")
    async def change(
        self, sha256: Sha256, judge: HoldJudge, claim: Claim[HoldOutcome] | None = None
    ) -> HoldOutcome | Replay:
        """See the port."""
        return await attempt(self.database, "", claim, lambda: self._change(sha256, judge, claim))

    async def _change(self, sha256: Sha256, judge: HoldJudge, claim: Claim[HoldOutcome] | None) -> HoldOutcome | Replay:
        async with self.database.locked([*claim_lock("", claim), lock_of("blob", sha256)]) as connection:
            key = None if claim is None else claim.key
            load = await connection.fetchrow(_LOAD, bytes.fromhex(sha256), key)
            if load is None:
                raise RuntimeError("a load without a row")
            if (replay := replay_of(load, claim)) is not None:
                return replay
            hold = _to_hold(sha256, load)
            event = judge(HoldState(load["now"], hold))
            if event is not None:
                await _write(connection, load, event)
            outcome = _outcome(event, hold)
            await store_answer(connection, NOBODYS, claim, outcome)
            return outcome


def _outcome(event: HoldEvent | None, hold: Hold | None) -> HoldOutcome:
    if event is not None:
        return HoldOutcome(event.decision, event.hold)
    if hold is None:
        raise RuntimeError("a hold that is not there cannot stay as it was")
    return HoldOutcome(DecisionKind.NOOP, hold)


async def _write(connection: Connection, load: Row, event: HoldEvent) -> None:
    """The operator's record, the holders' copies, and the row."""
    await tell_holders(connection, load, event, partial(copy_for, event))
    hold = event.hold
    if event.type is EventType.HOLD_LIFTED:
        await connection.execute("DELETE FROM holds WHERE sha256 = $1", bytes.fromhex(hold.sha256))
    else:
        columns = (hold.kind.value, hold.status, hold.reason, hold.actor, hold.placed_at, load["blob_id"])
        await connection.execute(_PLACE, bytes.fromhex(hold.sha256), *columns)


def _to_hold(sha256: Sha256, row: Row) -> Hold | None:
    if row["kind"] is None:
        return None
    return Hold(sha256, HoldKind(row["kind"]), row["status"], row["reason"], row["actor"], row["placed_at"])
