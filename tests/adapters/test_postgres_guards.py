"""What Postgres itself refuses, whatever the application asks; and what feeds the review queues."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest

from service.adapters.postgres.database import Database
from service.domain.blob import Sha256
from service.domain.policy import Visibility
from service.domain.ref import Labels
from tests.parts.ledgers import ACTOR, LEASE, UPLOAD, Ledger, attach, book, new_hash, release

pytestmark = pytest.mark.anyio

OBJECT_OF = "SELECT object_id FROM blobs WHERE sha256 = $1"


async def object_of(database: Database, sha256: Sha256) -> int:
    """The id of a blob's object."""
    row = await database.fetchrow(OBJECT_OF, bytes.fromhex(sha256))
    assert row is not None
    return int(row["object_id"])


async def object_in(database: Database, ledger: Ledger, state: str) -> int:
    """An object in this state that no blob uses."""
    reservation = await ledger.objects.reserve(new_hash(), 1, UPLOAD)
    if state != "pending":
        end = "now()" if state == "condemned" else "NULL"
        await database.fetch(
            f"UPDATE objects SET state = $2, delete_after = {end} WHERE id = $1", reservation.object_id, state
        )
    return reservation.object_id


async def holding_reviews(database: Database, sha256: Sha256) -> int:
    """How often the workspace's holding waits to be looked at."""
    query = "SELECT count(*) FROM holding_reviews r JOIN blobs b ON b.id = r.blob_id WHERE b.sha256 = $1"
    row = await database.fetchrow(query, bytes.fromhex(sha256))
    assert row is not None
    return int(row["count"])


async def blob_reviews(database: Database, sha256: Sha256) -> int:
    """How often the blob waits to be looked at."""
    query = "SELECT count(*) FROM blob_reviews r JOIN blobs b ON b.id = r.blob_id WHERE b.sha256 = $1"
    row = await database.fetchrow(query, bytes.fromhex(sha256))
    assert row is not None
    return int(row["count"])


# --- objects ----------------------------------------------------------------------------------------------------------


async def test_an_object_that_a_blob_uses_cannot_be_condemned(database: Database, ledger: Ledger) -> None:
    sha256 = await ledger.hold(await ledger.workspace())
    used = await object_of(database, sha256)
    with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
        await database.fetch("UPDATE objects SET state = 'condemned', delete_after = now() WHERE id = $1", used)
    assert refused.value.constraint_name == "blobs_object_fkey"


@pytest.mark.parametrize("state", ["pending", "condemned"])
async def test_a_blob_cannot_name_an_object_that_is_not_live(database: Database, ledger: Ledger, state: str) -> None:
    unusable = await object_in(database, ledger, state)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await database.fetch(
            "INSERT INTO blobs (sha256, size, media_type, object_id, created_at) VALUES ($1, 1, 'a/b', $2, now())",
            bytes.fromhex(new_hash()),
            unusable,
        )


@pytest.mark.parametrize(("state", "forbidden"), [("live", "pending"), ("condemned", "pending"), ("condemned", "live")])
async def test_an_object_never_moves_back(database: Database, ledger: Ledger, state: str, forbidden: str) -> None:
    moved = await object_in(database, ledger, state)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch("UPDATE objects SET state = $2, delete_after = NULL WHERE id = $1", moved, forbidden)


@pytest.mark.parametrize("state", ["pending", "live"])
async def test_only_a_condemned_object_may_go(database: Database, ledger: Ledger, state: str) -> None:
    wanted = await object_in(database, ledger, state)
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch("DELETE FROM objects WHERE id = $1", wanted)


@pytest.mark.parametrize("change", ["key = key || 'x'", "size = size + 1", "sha256 = sha256(sha256)"])
async def test_an_object_stays_what_it_is(database: Database, ledger: Ledger, change: str) -> None:
    fixed = await object_in(database, ledger, "pending")
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch(f"UPDATE objects SET {change} WHERE id = $1", fixed)


async def test_a_condemned_object_has_a_time_to_go(database: Database, ledger: Ledger) -> None:
    pending = await object_in(database, ledger, "pending")
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch("UPDATE objects SET state = 'condemned' WHERE id = $1", pending)


async def test_an_object_given_up_is_due_at_the_end_of_its_lease_and_a_spare_one_at_once(
    database: Database, ledger: Ledger
) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    given_up = await ledger.objects.reserve(sha256, 1, UPLOAD)
    await ledger.objects.condemn(given_up)
    await ledger.publish(workspace, sha256)
    await ledger.publish(workspace, sha256)
    rows = await database.fetch(
        "SELECT id, delete_after = lease_until AS later FROM objects WHERE sha256 = $1 AND state = 'condemned'",
        bytes.fromhex(sha256),
    )
    assert {row["id"] == given_up.object_id: row["later"] for row in rows} == {True: True, False: False}


# --- parents in use ---------------------------------------------------------------------------------------------------


async def test_a_blob_that_is_held_cannot_be_deleted(database: Database, ledger: Ledger) -> None:
    sha256 = await ledger.hold(await ledger.workspace())
    with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
        await database.fetch("DELETE FROM blobs WHERE sha256 = $1", bytes.fromhex(sha256))
    assert refused.value.constraint_name == "holdings_blob_fkey"


@pytest.mark.parametrize("trashed", [False, True])
async def test_a_holding_that_a_ref_needs_cannot_be_deleted(
    database: Database, ledger: Ledger, *, trashed: bool
) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    await ledger.attach(attach(book(workspace), "cover", sha256, 0))
    if trashed:
        await ledger.change(release(book(workspace), "cover", 0))
    with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
        await database.fetch(
            "DELETE FROM holdings WHERE blob_id = (SELECT id FROM blobs WHERE sha256 = $1)", bytes.fromhex(sha256)
        )
    assert refused.value.constraint_name == "refs_holding_fkey"


async def test_a_ref_cannot_use_a_blob_that_its_workspace_does_not_hold(database: Database, ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    await ledger.attach(attach(book(mine), "cover", await ledger.hold(mine), 0))
    foreign = await ledger.hold(theirs)
    with pytest.raises(asyncpg.ForeignKeyViolationError) as refused:
        await database.fetch(
            "UPDATE refs SET blob_id = (SELECT id FROM blobs WHERE sha256 = $1) "
            "WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $2)",
            bytes.fromhex(foreign),
            mine,
        )
    assert refused.value.constraint_name == "refs_holding_fkey"


async def test_two_refs_never_share_a_slot(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    for _ in range(2):
        await ledger.attach(attach(book(workspace), "pages", await ledger.hold(workspace)))
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await database.fetch(
            "UPDATE refs SET position = 0 WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $1)", workspace
        )
    assert refused.value.constraint_name == "refs_slot_key"


@pytest.mark.parametrize(
    "change",
    ["state = 'trashed'", "position = NULL", "position = -1", "state = 'trashed', position = NULL", "state = 'gone'"],
)
async def test_a_ref_is_live_in_a_slot_or_in_the_trash_with_its_times(
    database: Database, ledger: Ledger, change: str
) -> None:
    workspace = await ledger.workspace()
    await ledger.attach(attach(book(workspace), "cover", await ledger.hold(workspace), 0))
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch(
            f"UPDATE refs SET {change} WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $1)", workspace
        )


async def test_a_workspace_never_uses_less_than_nothing(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    with pytest.raises(asyncpg.CheckViolationError):
        await database.fetch("UPDATE workspaces SET used_bytes = -1 WHERE slug = $1", workspace)


async def test_a_key_bound_to_a_workspace_is_no_operators(database: Database, ledger: Ledger) -> None:
    await ledger.workspace()
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await database.fetch(
            "INSERT INTO api_keys (id, secret_hash, name, scopes, workspace_id) "
            "SELECT 'k', sha256(''), 'n', ARRAY['operator'], id FROM workspaces LIMIT 1"
        )
    assert refused.value.constraint_name == "api_keys_operator_is_unbound"


# --- review queues ----------------------------------------------------------------------------------------------------


async def test_a_new_holding_is_looked_at_when_its_lease_ends(database: Database, ledger: Ledger) -> None:
    sha256 = await ledger.hold(await ledger.workspace())
    [row] = await database.fetch(
        "SELECT r.due, h.lease_until, h.acquired_at FROM holding_reviews r "
        "JOIN holdings h USING (workspace_id, blob_id) JOIN blobs b ON b.id = h.blob_id WHERE b.sha256 = $1",
        bytes.fromhex(sha256),
    )
    assert row["due"] == row["lease_until"] == row["acquired_at"] + LEASE


async def test_a_deleted_ref_puts_its_holding_up_for_review_now(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    await ledger.attach(attach(book(workspace), "cover", sha256, 0))
    await database.fetch("DELETE FROM refs WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $1)", workspace)
    rows = await database.fetch(
        "SELECT r.due <= refkeep_now() AS due FROM holding_reviews r JOIN blobs b ON b.id = r.blob_id "
        "WHERE b.sha256 = $1 ORDER BY r.id",
        bytes.fromhex(sha256),
    )
    assert [row["due"] for row in rows] == [False, True]


async def test_a_ref_that_moves_to_another_blob_puts_the_old_holding_up_for_review(
    database: Database, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    old, new = await ledger.hold(workspace), await ledger.hold(workspace)
    await ledger.attach(attach(book(workspace), "cover", old, 0))
    await database.fetch(
        "UPDATE refs SET blob_id = (SELECT id FROM blobs WHERE sha256 = $1) "
        "WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $2)",
        bytes.fromhex(new),
        workspace,
    )
    assert (await holding_reviews(database, old), await holding_reviews(database, new)) == (2, 1)


async def test_no_other_change_of_a_ref_asks_for_a_review(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity = book(workspace)
    old, new = await ledger.hold(workspace), await ledger.hold(workspace)
    await ledger.attach(attach(entity, "cover", old, 0))
    await ledger.attach(attach(entity, "cover", old, 0, labels=Labels(alt="x"), visibility=Visibility.PRIVATE))
    await ledger.attach(attach(entity, "cover", new, 0))
    await ledger.change(release(entity, "cover", 0))
    await database.fetch(
        "UPDATE refs SET blob_id = blob_id, alt = 'y' WHERE workspace_id = (SELECT id FROM workspaces WHERE slug = $1)",
        workspace,
    )
    assert (await holding_reviews(database, old), await holding_reviews(database, new)) == (1, 1)


async def test_a_renewed_lease_asks_for_no_second_review(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    await ledger.advance(timedelta(days=1))
    await ledger.publish(workspace, sha256)
    await ledger.advance(timedelta(days=-1))
    assert await holding_reviews(database, sha256) == 1


async def test_a_holding_that_is_given_up_puts_its_blob_up_for_review_now(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    assert await blob_reviews(database, sha256) == 0
    await ledger.blobs.release(workspace, sha256, ACTOR)
    assert await blob_reviews(database, sha256) == 1
