"""The blob ledger on Postgres: holdings and the blobs they keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import asyncpg

from service.adapters.postgres.claims import attempt, claim_lock, claim_parameters, replay_of
from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.healing import MAKE_LIVE, heal, is_marked
from service.adapters.postgres.locks import lock_of
from service.adapters.postgres.log import PLACE, WRITE, event_columns, event_place
from service.adapters.postgres.rows import BLOB_COLUMNS, look_of, to_blob, to_holding
from service.adapters.postgres.standing import EPOCH, NEVER_MOVED, published_in, require_standing
from service.domain.blob import Blob, MediaInfo, Sha256
from service.domain.errors import BlobInUse, NotFound, QuotaExceeded, Unavailable
from service.domain.event import Actor, DecisionKind, EventType, HoldingEvent
from service.domain.holding_decision import HoldingState, standing_look
from service.observability import observed
from service.ports.blobs import BlobOutcome, HoldingJudge, Published
from service.ports.idempotency import Claim, Replay
from service.ports.moves import Standing
from service.ports.objects import Reservation

_FIND = f"""SELECT {BLOB_COLUMNS} FROM blobs b JOIN holdings h ON h.blob_id = b.id
WHERE h.workspace_id = $1 AND b.sha256 = $2"""

_FITS = """
WITH new AS (
    SELECT count(*) AS items, coalesce(sum(size), 0) AS bytes
    FROM unnest($2::bytea[], $3::bigint[]) AS asked (sha256, size)
    WHERE NOT EXISTS (SELECT FROM holdings h JOIN blobs b ON b.id = h.blob_id
        WHERE h.workspace_id = $1 AND b.sha256 = asked.sha256))
SELECT items = 0 OR (max_bytes IS NULL OR used_bytes + bytes <= max_bytes)
    AND (max_items IS NULL OR used_items + items <= max_items) AS fits
FROM new, workspaces WHERE id = $1
"""

_ON_HOLD = "EXISTS (SELECT FROM holds WHERE holds.sha256 = {sha256}) AS on_hold"
_HELD = f"""SELECT refkeep_now() AS now, b.sha256, b.size, h.acquired_at, h.lease_until,
    {_ON_HOLD.format(sha256="b.sha256")}
FROM blobs b JOIN holdings h ON h.blob_id = b.id
WHERE h.workspace_id = $1 AND b.sha256 = ANY ($2::bytea[])
    AND (b.health = 'ok' OR EXISTS (SELECT FROM holds WHERE holds.sha256 = b.sha256))
ORDER BY b.sha256"""

_LOAD = f"""
SELECT refkeep_now() AS now, {PLACE}, o.state, b.id AS blob_id, b.object_id, b.health, {BLOB_COLUMNS}, h.lease_until,
    i.fingerprint, i.answer,
    {_ON_HOLD.format(sha256="$2")}
FROM (SELECT 1) AS one
LEFT JOIN blobs b ON b.sha256 = $2
LEFT JOIN holdings h ON h.blob_id = b.id AND h.workspace_id = $1
LEFT JOIN idempotency i ON i.workspace_id = $1 AND i.key = $3
"""
_LOAD_HELD = _LOAD.replace("o.state", "NULL AS state")
# The object row is locked and read again: a sweep may have condemned it since it was reserved.
_LOAD_RESERVED = f"""{_LOAD.replace("o.state", f"o.state, {EPOCH}").replace("FROM (SELECT 1) AS one", "FROM objects o")}
WHERE o.id = $4 FOR UPDATE OF o"""

# $1-$12 the event's columns, $13-$15 the claim, $16 the end of the lease, $17-$25 what was found in the bytes,
# $26 their size, $27 the object.
_QUOTA = """quota AS (
    UPDATE workspaces SET used_bytes = used_bytes + $26, used_items = used_items + 1
    WHERE id = $7 AND (max_bytes IS NULL OR used_bytes + $26 <= max_bytes)
        AND (max_items IS NULL OR used_items + 1 <= max_items)
    RETURNING 1)"""
_PUBLISH_NEW = f"""{WRITE},
live AS (UPDATE objects SET state = 'live' WHERE id = $27 AND state = 'pending' RETURNING id),
blob AS (
    INSERT INTO blobs (sha256, size, media_type, width, height, frames, duration_ms, readable,
        thumbhash, colour, aspect, object_id, created_at)
    SELECT $11, $26, $17, $18, $19, $20, $21, $22, $23, $24, $25, id, $4 FROM live RETURNING id),
held AS (
    INSERT INTO holdings (workspace_id, blob_id, acquired_at, lease_until) SELECT $7, id, $4, $16 FROM blob),
{_QUOTA}
SELECT EXISTS (SELECT FROM quota)"""
_SPARE = """UPDATE objects SET state = 'condemned', delete_after = refkeep_now()
    WHERE id = {object_id} AND state = 'pending'"""
_CONDEMN = f"spare AS ({_SPARE.format(object_id='$27')})"
_LOOK = """look AS (
    UPDATE blobs SET media_type = $17, width = $18, height = $19, frames = $20, duration_ms = $21, readable = $22,
        thumbhash = $23, colour = $24, aspect = $25
    WHERE sha256 = $11 AND (media_type, width, height, frames, duration_ms, readable, thumbhash, colour, aspect)
        IS DISTINCT FROM ($17, $18::integer, $19::integer, $20::integer, $21::bigint, $22::boolean, $23::text,
            $24::text, $25::double precision))"""
_HOLD = """held AS (
    INSERT INTO holdings (workspace_id, blob_id, acquired_at, lease_until)
    SELECT $7, id, $4, $16 FROM blobs WHERE sha256 = $11)"""
_EXTEND = """UPDATE holdings SET lease_until = $16
WHERE workspace_id = $7 AND blob_id = (SELECT id FROM blobs WHERE sha256 = $11)"""
_ADMITTED = "SELECT EXISTS (SELECT FROM quota)"
_PUBLISH_KNOWN = f"{WRITE}, {_CONDEMN}, {_LOOK}, {_HOLD}, {_QUOTA} {_ADMITTED}"
_PUBLISH_HELD = f"{WRITE}, {_CONDEMN}, {_LOOK}, size AS (SELECT $26::bigint) {_EXTEND}"
_RENEW = f"{WRITE}, {_LOOK} {_EXTEND}"
_GRANT = f"{WRITE}, {_LOOK}, {_HOLD}, {_QUOTA} {_ADMITTED}"
_RELEASE = f"""{WRITE},
quota AS (UPDATE workspaces SET used_bytes = used_bytes - $17, used_items = used_items - 1 WHERE id = $7)
DELETE FROM holdings WHERE workspace_id = $7 AND blob_id = $16"""


@dataclass(frozen=True, slots=True)
class PostgresBlobs:
    """`BlobLedger` on Postgres. `standing` is that of the store into which this process puts what it publishes."""

    database: Database
    standing: Standing = NEVER_MOVED

    @observed("blobs.find", layer="repo", span_name="SELECT blobs")
    async def find(self, workspace: str, sha256: Sha256) -> Blob | None:
        """See the port."""
        row = await self.database.fetchrow(
            _FIND, await self.database.require_workspace_id(workspace), bytes.fromhex(sha256)
        )
        return None if row is None else to_blob(row)

    @observed("blobs.fits", layer="repo", span_name="SELECT workspaces")
    async def fits(self, workspace: str, sizes: Mapping[Sha256, int]) -> bool:
        """See the port."""
        workspace_id = await self.database.require_workspace_id(workspace)
        hashes = [bytes.fromhex(sha256) for sha256 in sizes]
        row = await self.database.fetchrow(_FITS, workspace_id, hashes, list(sizes.values()))
        return row is not None and bool(row["fits"])

    @observed("blobs.renew", layer="repo", span_name="WRITE holdings")
    async def renew(
        self,
        workspace: str,
        hashes: Sequence[Sha256],
        judge: HoldingJudge,
        claim: Claim[BlobOutcome] | None = None,
        found: MediaInfo | None = None,
    ) -> dict[Sha256, BlobOutcome | Replay | None]:
        """See the port: one look at all of them, then one transaction for each that the judge would change."""
        workspace_id = await self.database.require_workspace_id(workspace)
        outcomes: dict[Sha256, BlobOutcome | Replay | None] = {}
        for row in await self.database.fetch(_HELD, workspace_id, [bytes.fromhex(sha256) for sha256 in set(hashes)]):
            sha256 = Sha256(row["sha256"].hex())
            if judge(HoldingState(row["now"], to_holding(workspace, row), row["size"], row["on_hold"])) is None:
                outcomes[sha256] = None
                continue
            turn = _Turn(workspace, workspace_id, sha256, judge, claim)
            held, outcome = await attempt(self.database, workspace, claim, partial(self._renew, turn, found))
            if held:
                outcomes[sha256] = outcome
        return outcomes

    @observed("blobs.grant", layer="repo", span_name="WRITE holdings")
    async def grant(
        self, workspace: str, sha256: Sha256, judge: HoldingJudge, claim: Claim[BlobOutcome] | None = None
    ) -> BlobOutcome | Replay:
        """See the port."""
        turn = _Turn(workspace, await self.database.require_workspace_id(workspace), sha256, judge, claim)
        return await attempt(self.database, workspace, claim, lambda: self._grant(turn))

    @observed("blobs.publish", layer="repo", span_name="WRITE blobs")
    async def publish(
        self,
        workspace: str,
        reservation: Reservation,
        media: MediaInfo,
        judge: HoldingJudge,
        claim: Claim[BlobOutcome] | None = None,
    ) -> Published:
        """See the port."""
        turn = _Turn(workspace, await self.database.require_workspace_id(workspace), reservation.sha256, judge, claim)
        publish = partial(attempt, self.database, workspace, claim, lambda: self._publish(turn, reservation, media))
        return await published_in(self.standing, publish)

    @observed("blobs.release", layer="repo", span_name="WRITE holdings")
    async def release(
        self, workspace: str, sha256: Sha256, actor: Actor, claim: Claim[str] | None = None
    ) -> str | Replay:
        """See the port. The foreign key of the refs is what refuses."""
        workspace_id = await self.database.require_workspace_id(workspace)
        try:
            return await attempt(
                self.database, workspace, claim, lambda: self._release(workspace, workspace_id, sha256, actor, claim)
            )
        except asyncpg.ForeignKeyViolationError as error:
            if error.constraint_name in {"refs_holding_fkey", "refs_original_fkey"}:
                raise BlobInUse from error
            raise

    async def _renew(self, turn: _Turn, found: MediaInfo | None) -> tuple[bool, BlobOutcome | Replay | None]:
        async with self.database.locked(turn.locks()) as connection:
            load = await _load(connection, _LOAD_HELD, *turn.load_parameters())
            if (replay := replay_of(load, turn.claim)) is not None:
                return True, replay
            if load["acquired_at"] is None or (is_marked(load) and not load["on_hold"]):
                return False, None
            event = turn.judge(turn.state(load))
            if event is None:
                return True, None
            blob = to_blob(load)
            outcome = turn.outcome(load, event, blob if found is None else _looked_at(load, found))
            await connection.execute(_RENEW, *turn.write_parameters(load, event, outcome))
            return True, outcome

    async def _grant(self, turn: _Turn) -> BlobOutcome | Replay:
        async with self.database.locked(turn.locks()) as connection:
            load = await _load(connection, _LOAD_HELD, *turn.load_parameters())
            if (replay := replay_of(load, turn.claim)) is not None:
                return replay
            event = turn.judge(turn.state(load))
            if event is None:
                raise NotFound("There is no such blob.")
            outcome = turn.outcome(load, event, to_blob(load))
            parameters = turn.write_parameters(load, event, outcome)
            if event.decision is DecisionKind.DUPLICATE:
                await connection.execute(_RENEW, *parameters)
            elif not await connection.fetchval(_GRANT, *parameters, outcome.blob.size):
                raise QuotaExceeded
            return outcome

    async def _publish(self, turn: _Turn, reservation: Reservation, media: MediaInfo) -> Published:
        async with self.database.locked(turn.locks()) as connection:
            load = await _load(connection, _LOAD_RESERVED, *turn.load_parameters(), reservation.object_id)
            if (replay := replay_of(load, turn.claim)) is not None:
                await connection.execute(_SPARE.format(object_id="$1"), reservation.object_id)
                return Published(replay, object_used=False)
            if load["state"] != "pending":
                raise Unavailable("The upload took longer than its lease.")
            require_standing(load, self.standing)
            event = turn.decided(load)
            is_new, heals = load["blob_id"] is None, is_marked(load)
            new = Blob(reservation.sha256, reservation.size, media, event.time)
            outcome = turn.outcome(load, event, new if is_new else _looked_at(load, media))
            parameters = (*turn.write_parameters(load, event, outcome), outcome.blob.size, reservation.object_id)
            if heals:
                await connection.execute(MAKE_LIVE, reservation.object_id)
            if event.decision is DecisionKind.DUPLICATE:
                await connection.execute(_PUBLISH_HELD, *parameters)
            elif not await connection.fetchval(_PUBLISH_NEW if is_new else _PUBLISH_KNOWN, *parameters):
                raise QuotaExceeded
            if heals:
                await heal(connection, load, reservation.sha256, reservation.object_id, first_seq=1)
            return Published(outcome, object_used=is_new or heals)

    async def _release(
        self, workspace: str, workspace_id: int, sha256: Sha256, actor: Actor, claim: Claim[str] | None
    ) -> str | Replay:
        locks = [*claim_lock(workspace, claim), lock_of("blob", sha256)]
        async with self.database.locked(locks) as connection:
            key = None if claim is None else claim.key
            load = await _load(connection, _LOAD_HELD, workspace_id, bytes.fromhex(sha256), key)
            if (replay := replay_of(load, claim)) is not None:
                return replay
            holding = to_holding(workspace, load)
            if holding is None:
                raise NotFound("This workspace does not hold these bytes.")
            event = HoldingEvent(EventType.HOLDING_RELEASED, DecisionKind.RELEASE, load["now"], actor, holding)
            place = event_place(load)
            columns = event_columns(place, event, workspace_id)
            stored = claim_parameters(claim, str(place))
            await connection.execute(_RELEASE, *columns, *stored, load["blob_id"], holding.size)
            return str(place)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One decision about one hash, with all that its transaction needs."""

    workspace: str
    workspace_id: int
    sha256: Sha256
    judge: HoldingJudge
    claim: Claim[BlobOutcome] | None

    def locks(self) -> list[int]:
        """The key's lock, then the hash's."""
        return [*claim_lock(self.workspace, self.claim), lock_of("blob", self.sha256)]

    def load_parameters(self) -> tuple[object, ...]:
        """$1-$3 of the loads."""
        return self.workspace_id, bytes.fromhex(self.sha256), None if self.claim is None else self.claim.key

    def state(self, load: Row) -> HoldingState:
        """What the judge asks for."""
        return HoldingState(load["now"], to_holding(self.workspace, load), load["size"], load["on_hold"])

    def decided(self, load: Row) -> HoldingEvent:
        """The judge's event, where it always has one."""
        event = self.judge(self.state(load))
        if event is None:
            raise RuntimeError("bytes that arrived are always a decision")
        return event

    def outcome(self, load: Row, event: HoldingEvent, blob: Blob) -> BlobOutcome:
        """The outcome for this workspace, whose holding says since when it has the blob."""
        blob = replace(blob, created_at=event.holding.acquired_at)
        return BlobOutcome(event.decision, blob, str(event_place(load)))

    def write_parameters(self, load: Row, event: HoldingEvent, outcome: BlobOutcome) -> tuple[object, ...]:
        """$1-$25 of the writes."""
        columns = event_columns(event_place(load), event, self.workspace_id)
        look = look_of(outcome.blob.media)
        return *columns, *claim_parameters(self.claim, outcome), event.holding.lease_until, *look


async def _load(connection: Connection, query: str, *parameters: object) -> Row:
    row = await connection.fetchrow(query, *parameters)
    if row is None:
        raise Unavailable("The upload took longer than its lease.")
    return row


def _looked_at(load: Row, found: MediaInfo) -> Blob:
    """The blob of a load after another look at its bytes."""
    known = to_blob(load)
    return replace(known, media=standing_look(known.media, found))
