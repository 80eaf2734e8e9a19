"""Many at once, on connections of their own: one wins, everyone gets a true answer, and nothing is left over."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import TypeVar

import pytest

from service.adapters.postgres.database import Database
from service.domain.blob import Sha256
from service.domain.decision import Attach, Release
from service.domain.errors import BlobInUse, BlobNotHeld, NotFound, Rejected, RoleFull, VersionConflict
from service.domain.event import DecisionKind, HoldingEvent, RefEvent
from service.ports.blobs import Published
from service.ports.idempotency import Replay
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import (
    ACTOR,
    Ledger,
    attach,
    blob_claim_on,
    book,
    claim_on,
    fresh_blob,
    new_hash,
    opened_for_a_crowd,
    release,
)

pytestmark = pytest.mark.anyio

CROWD = 50
T = TypeVar("T")


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with opened_for_a_crowd(database_url, CROWD) as database:
        yield database


async def all_of(calls: Iterable[Awaitable[T]]) -> list[T]:
    """What all calls return, made at the same time."""
    return await asyncio.gather(*calls)


async def outcomes(calls: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """What all calls return or raise."""
    return await asyncio.gather(*calls, return_exceptions=True)


async def states_of(ledger: Ledger, sha256: Sha256) -> Counter[str]:
    """How many objects of these bytes are in each state."""
    return Counter(state for key, state in (await ledger.object_states()).items() if sha256 in key)


def decisions(published: Iterable[Published]) -> Counter[DecisionKind]:
    """What became of each."""
    return Counter(fresh_blob(each.outcome).decision for each in published)


# --- uploads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", range(4))
async def test_equal_bytes_of_one_workspace_are_one_blob_and_one_insert(
    database: Database, ledger: Ledger, attempt: int
) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    published = await all_of(ledger.publish(workspace, sha256) for _ in range(CROWD))
    assert decisions(published) == {DecisionKind.INSERT: 1, DecisionKind.DUPLICATE: CROWD - 1}
    assert sum(each.object_used for each in published) == 1
    assert await states_of(ledger, sha256) == {"live": 1, "condemned": CROWD - 1}
    assert len(await database.fetch("SELECT FROM blobs WHERE sha256 = $1", bytes.fromhex(sha256))) == 1
    events = [event for event in await ledger.events(workspace) if isinstance(event, HoldingEvent)]
    assert Counter(event.decision for event in events) == decisions(published)
    assert events[0].decision is DecisionKind.INSERT
    assert await ledger_flaws(database) == []


async def test_equal_bytes_of_many_workspaces_are_one_blob_and_an_insert_for_each(
    database: Database, ledger: Ledger
) -> None:
    sha256, workspaces = new_hash(), [await ledger.workspace() for _ in range(CROWD)]
    published = await all_of(ledger.publish(workspace, sha256) for workspace in workspaces)
    assert decisions(published) == {DecisionKind.INSERT: CROWD}
    assert await states_of(ledger, sha256) == {"live": 1, "condemned": CROWD - 1}
    assert await ledger_flaws(database) == []


async def test_a_quota_is_exact_however_many_upload_at_once(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace(max_bytes=10 * 17 + 9)
    results = await outcomes(ledger.publish(workspace, new_hash(), size=10) for _ in range(CROWD))
    assert sum(isinstance(result, Published) for result in results) == 17
    assert {type(result).__name__ for result in results} == {"Published", "QuotaExceeded"}
    found = await ledger.workspaces.find(workspace)
    assert found is not None
    assert (found.used_bytes, found.used_items) == (170, 17)
    assert await ledger_flaws(database) == []


async def test_bytes_that_come_and_go_at_once_leave_a_true_account(database: Database, ledger: Ledger) -> None:
    workspace, sha256 = await ledger.workspace(), new_hash()
    calls = [
        ledger.publish(workspace, sha256) if number % 2 else ledger.blobs.release(workspace, sha256, ACTOR)
        for number in range(CROWD)
    ]
    results = await outcomes(calls)
    assert {type(result) for result in results} <= {Published, str, NotFound}
    assert await ledger_flaws(database) == []


async def test_a_blob_is_not_given_up_under_a_ref_that_is_being_made(database: Database, ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    for number in range(CROWD):
        sha256 = await ledger.hold(workspace)
        attached, released = await outcomes(
            [
                ledger.change(attach(book(workspace, number), "cover", sha256, 0)),
                ledger.blobs.release(workspace, sha256, ACTOR),
            ]
        )
        assert isinstance(attached, BlobNotHeld) != isinstance(released, BlobInUse)
    assert await ledger_flaws(database) == []


# --- refs -------------------------------------------------------------------------------------------------------------


async def test_one_slot_filled_by_many_at_once_has_one_ref_and_dense_versions(
    database: Database, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    entity, hashes = book(workspace), [await ledger.hold(workspace) for _ in range(CROWD)]
    made = await all_of(ledger.attach(attach(entity, "cover", sha256, 0)) for sha256 in hashes)
    assert Counter(outcome.decision for outcome in made) == {DecisionKind.INSERT: 1, DecisionKind.REPLACE: CROWD - 1}
    assert sorted(outcome.version for outcome in made) == list(range(1, CROWD + 1))
    last = max(made, key=lambda outcome: outcome.version)
    assert (await ledger.refs.of_entity(entity)).refs == (last.ref,)
    assert await ledger_flaws(database) == []


async def test_the_same_blob_put_by_many_at_once_is_one_insert_and_noops(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sha256 = await ledger.hold(workspace)
    made = await all_of(ledger.attach(attach(book(workspace), "cover", sha256, 0)) for _ in range(CROWD))
    assert Counter(outcome.decision for outcome in made) == {DecisionKind.INSERT: 1, DecisionKind.NOOP: CROWD - 1}
    assert (await ledger.refs.of_entity(book(workspace))).version == 1


async def test_appends_at_once_fill_the_list_without_a_gap_and_not_beyond_its_cap(
    database: Database, ledger: Ledger
) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    results = await outcomes(ledger.attach(attach(entity, "notes", sha256)) for _ in range(CROWD + 10))
    made = [result for result in results if not isinstance(result, BaseException)]
    assert Counter(type(result) for result in results if isinstance(result, BaseException)) == {RoleFull: 10}
    listed = await ledger.refs.of_entity(entity, "notes")
    assert [resolved.ref.position for resolved in listed.refs] == list(range(CROWD))
    assert sorted(outcome.version for outcome in made) == list(range(1, CROWD + 1))
    assert listed.version == CROWD
    events = [event for event in await ledger.events(workspace) if isinstance(event, RefEvent)]
    changes = [event.version for event in events if event.decision is not DecisionKind.REJECT]
    assert changes == list(range(1, CROWD + 1))
    assert await ledger_flaws(database) == []


async def test_of_those_who_saw_the_same_version_one_wins(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    await ledger.attach(attach(entity, "pages", sha256))
    inserts = [attach(entity, "pages", sha256, 0, shift=True, version=1) for _ in range(CROWD // 2)]
    releases = [release(entity, "pages", 0, version=1) for _ in range(CROWD // 2)]
    commands: list[Attach | Release] = [*inserts, *releases]
    results = await outcomes(ledger.change(command) for command in commands)
    assert Counter(isinstance(result, VersionConflict) for result in results)[False] == 1
    assert (await ledger.refs.of_entity(entity)).version == 2


# --- idempotency ------------------------------------------------------------------------------------------------------


async def test_one_key_used_by_many_at_once_is_one_append_and_one_answer(database: Database, ledger: Ledger) -> None:
    workspace, claim = await ledger.workspace(), claim_on("the same key")
    entity, sha256 = book(workspace), await ledger.hold(workspace)
    results = await all_of(ledger.change(attach(entity, "pages", sha256), claim) for _ in range(20))
    [first] = [result for result in results if not isinstance(result, Replay)]
    assert {result.answer for result in results if isinstance(result, Replay)} == {claim.render(first)}
    assert (await ledger.refs.of_entity(entity)).version == 1
    assert len(await ledger.events(workspace)) == 2
    assert await ledger_flaws(database) == []


async def test_one_key_used_by_many_at_once_is_one_upload_and_one_answer(database: Database, ledger: Ledger) -> None:
    workspace, sha256, claim = await ledger.workspace(), new_hash(), blob_claim_on("the same key")
    published = await all_of(ledger.publish(workspace, sha256, claim=claim) for _ in range(20))
    [first] = [each.outcome for each in published if not isinstance(each.outcome, Replay)]
    answers = {each.outcome.answer for each in published if isinstance(each.outcome, Replay)}
    assert answers == {claim.render(first)}
    assert len(await ledger.events(workspace)) == 1
    assert await states_of(ledger, sha256) == {"live": 1, "condemned": 19}
    assert await ledger_flaws(database) == []


# --- everything -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_many_do_at_once_nobody_waits_in_a_circle_and_the_log_tells_it_all(
    database: Database, ledger: Ledger, seed: int
) -> None:
    workspaces = [await ledger.workspace(max_items=4) for _ in range(2)]
    hashes = [new_hash() for _ in range(5)]

    async def wander(dice: random.Random) -> None:
        for _ in range(12):
            workspace, sha256 = dice.choice(workspaces), dice.choice(hashes)
            entity, role = book(workspace, dice.randrange(2)), dice.choice(["cover", "pages"])
            version = (await ledger.refs.of_entity(entity)).version
            calls: list[Awaitable[object]] = []
            match dice.randrange(5):
                case 0:
                    calls = [ledger.publish(workspace, sha256)]
                case 1:
                    calls = [ledger.blobs.release(workspace, sha256, ACTOR)]
                case 2:
                    calls = [ledger.change(release(entity, role, dice.randrange(3), version=version))]
                case _:
                    position = dice.choice([None, 0, 1, 2])
                    calls = [ledger.change(attach(entity, role, sha256, position, version=version))]
            [result] = await outcomes(calls)
            expected = (Rejected, VersionConflict, NotFound, BlobInUse)
            assert not isinstance(result, BaseException) or isinstance(result, expected)

    await all_of(wander(random.Random(f"{seed}/{number}")) for number in range(20))
    assert await ledger_flaws(database) == []
