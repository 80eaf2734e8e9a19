"""Idempotency keys inside a ledger's transaction: taken from its load, stored by its write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import asyncpg

from service.adapters.postgres.database import Connection, Database, Row
from service.adapters.postgres.errors import LockTimeout
from service.adapters.postgres.locks import blob_lock, entity_lock, lock_of
from service.domain.blob import Sha256
from service.domain.errors import IdempotencyInProgress, IdempotencyKeyReuse, Unavailable
from service.domain.slot import EntityKey
from service.ports.idempotency import Claim, Outcome, Replay

Result = TypeVar("Result")

NOBODYS = 0
"""In place of a workspace's id, where operators' Idempotency-Keys are kept."""

_ANSWER = "SELECT fingerprint, answer FROM idempotency WHERE workspace_id = $1 AND key = $2"
_STORE = """INSERT INTO idempotency (workspace_id, key, fingerprint, answer, created_at)
    VALUES ($1, $2, $3, $4, refkeep_now())"""
_ATTEMPTS = 3


def claim_lock(workspace: str, claim: Claim[Outcome] | None) -> list[int]:
    """The lock that makes requests with one key wait for each other; it comes before all other locks."""
    return [] if claim is None else [lock_of("idempotency", workspace, claim.key)]


def ordered_locks(
    workspace: str, claim: Claim[Outcome] | None, entities: Iterable[EntityKey], hashes: Iterable[Sha256]
) -> list[int]:
    """The key's lock, the entities' by their names, the hashes' by theirs.

    In this order everywhere, so that nobody waits in a circle.
    """
    return [
        *claim_lock(workspace, claim),
        *(entity_lock(entity) for entity in sorted(set(entities))),
        *(blob_lock(sha256) for sha256 in sorted(set(hashes))),
    ]


def replay_of(row: Row, claim: Claim[Outcome] | None) -> Replay | None:
    """The stored answer, from `fingerprint` and `answer` of a load.

    Raises `IdempotencyKeyReuse` for another request's.
    """
    if claim is None or row["fingerprint"] is None:
        return None
    if row["fingerprint"] != claim.fingerprint:
        raise IdempotencyKeyReuse
    return Replay(row["answer"])


async def stored_answer(connection: Connection, workspace_id: int, claim: Claim[Outcome] | None) -> Replay | None:
    """The same by a statement of its own."""
    if claim is None:
        return None
    row = await connection.fetchrow(_ANSWER, workspace_id, claim.key)
    return None if row is None else replay_of(row, claim)


async def store_answer(
    connection: Connection, workspace_id: int, claim: Claim[Outcome] | None, outcome: Outcome
) -> None:
    """Keep the answer of a request that came with a key."""
    if claim is not None:
        await connection.execute(_STORE, workspace_id, *claim_parameters(claim, outcome))


def claim_parameters(claim: Claim[Outcome] | None, outcome: Outcome) -> tuple[str | None, bytes | None, bytes | None]:
    """Key, fingerprint and answer for a write."""
    return (None, None, None) if claim is None else (claim.key, claim.fingerprint, claim.render(outcome))


async def attempt(
    database: Database, workspace: str, claim: Claim[Outcome] | None, run: Callable[[], Awaitable[Result]]
) -> Result:
    """Run a transaction, again where another replica was faster with the same row.

    Raises `IdempotencyInProgress` when what it waited for in vain is the first request with its own key.
    """
    for _ in range(_ATTEMPTS):
        try:
            return await run()
        except asyncpg.UniqueViolationError:
            continue
        except LockTimeout:
            if claim is not None and await _is_running(database, lock_of("idempotency", workspace, claim.key)):
                raise IdempotencyInProgress from None
            raise
    raise Unavailable("Others keep changing the same thing at the same time.")


async def _is_running(database: Database, lock: int) -> bool:
    row = await database.fetchrow("SELECT pg_try_advisory_xact_lock($1) AS free", lock)
    return row is not None and not row["free"]
