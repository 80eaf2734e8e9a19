"""No statement that is sent often reads a whole table, however much is in it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from itertools import combinations
from typing import Any
from uuid import UUID

import pytest

from service.adapters.postgres.catalogue import PostgresCatalogue
from service.adapters.postgres.database import Database
from service.domain.ref import RefState
from service.ports.catalogue import MediaFilter
from tests.growth.operations import Operations
from tests.growth.plans import GROWING, OF_WHAT_PASSES, scans_of, statements_of
from tests.growth.world import ROLE, World, blob_name, fill, ref_id
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import opened_database
from tests.parts.postgres import session

pytestmark = pytest.mark.anyio

REFS = 20_000
_AS_IF_A_MILLION = "UPDATE pg_class SET reltuples = reltuples * 50 WHERE relname = ANY ($1)"
"""What the planner is told: among few rows the order matters little, and so does what it chooses there."""
NAMES = [*Operations(Database.__new__(Database), World(REFS), random.Random(0)).all()]


@pytest.fixture(scope="module")
async def operations(database_url: str) -> AsyncIterator[Operations]:
    """A moderately filled database with one connection."""
    async with session(database_url) as connection:
        await fill(connection, World(REFS))
        await connection.execute(_AS_IF_A_MILLION, [*GROWING])
    async with opened_database(database_url, 1) as database:
        made = Operations(database, World(REFS), random.Random(1))
        await made.prepare()
        yield made


async def test_the_made_up_world_is_as_the_service_would_have_left_it(operations: Operations) -> None:
    assert await ledger_flaws(operations.database) == []


INDEXES = {
    "attach": {"refs_slot_key", "entities_pkey", "holdings_blob"},
    "feed, first page": {"events_workspace"},
    "feed, middle": {"events_workspace"},
    "feed of an entity": {"events_entity"},
    "refs of an entity": {"entities_pkey", "refs_slot_key"},
    "media, first page": {"refs_workspace"},
    "media, middle": {"refs_workspace"},
    "recycle bin": {"refs_trash"},
    "media of a blob": {"refs_holding"},
    "media, live and trashed": {"refs_workspace"},
    "media of a kind": {"refs_kind"},
    "media of a role": {"refs_kind"},
    "media of an absent type": {"refs_workspace"},
    "media of an entity": {"refs_entity"},
    "recycle bin of a kind": {"refs_trash_kind"},
    "recycle bin of an entity": {"refs_trash_entity"},
    "recycle bin of a blob": {"refs_trash_blob"},
    "feed of a ref": {"events_workspace"},
    "feed, news": {"events_pkey"},
    "feed, its lag": {"events_pkey"},
    "snapshot, first page": {"refs_slot_key"},
    "snapshot, middle": {"refs_slot_key"},
    "why": {"holdings_blob", "refs_holding"},
    "why, of all workspaces": {"holdings_blob", "refs_holding"},
    "end of the trash, nothing due": {"refs_trash_due", "tombstones_age"},
    "review of a holding": {"holding_reviews_due", "refs_holding"},
}
"""What must be used: another index may have a condition, too, and still lead past everything of other workspaces."""


@pytest.mark.parametrize("name", NAMES)
async def test_a_frequent_statement_reads_by_index(operations: Operations, name: str) -> None:
    async with statements_of(operations.database) as statements:
        await operations.make_due()
        await operations.all()[name]()
    assert statements
    scans = [scan for statement in statements for scan in await scans_of(operations.database, statement)]
    whole = [scan for scan in scans if scan.table in GROWING and not scan.condition]
    assert [scan for scan in whole if scan.index not in OF_WHAT_PASSES] == []
    assert INDEXES.get(name, set()) <= {scan.index for scan in scans}


FILTERS: dict[str, Any] = {
    "entity_type": "document",
    "entity_id": "0",
    "role": ROLE,
    "sha256": blob_name(0, 0),
    "media_type": "text/plain",
    "ref_ids": (ref_id(0, 0), ref_id(0, 3)),
}
COMBINATIONS = [
    {name: FILTERS[name] for name in names}
    for count in range(len(FILTERS) + 1)
    for names in combinations(FILTERS, count)
]


@pytest.mark.parametrize("state", [None, *RefState])
async def test_every_list_of_media_goes_along_an_index_whatever_it_is_narrowed_to(
    operations: Operations, state: RefState | None
) -> None:
    """From the cursor on, in the order of the list: a range of whole rows, or the refs that are named."""
    cursor = "19b810a6b2e-" * (state is RefState.TRASHED) + "f" * 32
    for wanted in COMBINATIONS:
        async with statements_of(operations.database) as statements:
            await operations.media(cursor, MediaFilter(state, **wanted))
        for statement in statements:
            scans = await scans_of(operations.database, statement)
            assert all(scan.condition for scan in scans if scan.table in GROWING), (wanted, scans)
            for scan in scans:
                if scan.table == "refs":
                    assert (
                        "ROW(" in scan.condition
                        or (scan.index == "refs_pkey" and "ref_ids" in wanted)
                        or (scan.index == "refs_kind" and "RECURSIVE" in statement)
                    ), (wanted, scan)


async def test_a_page_of_media_is_found_without_reading_those_before_it(operations: Operations) -> None:
    """The same pages as ever: no ref twice, none left out."""
    catalogue, seen, after = PostgresCatalogue(operations.database), list[UUID](), None
    while True:
        page = await catalogue.page("small-0", after, 100, MediaFilter(RefState.LIVE))
        seen += [resolved.ref.ref_id for resolved in page.items]
        if (after := page.next_cursor) is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    [row] = await operations.database.fetch(
        "SELECT count(*) FROM refs JOIN workspaces w ON w.id = workspace_id WHERE slug = 'small-0' AND state = 'live'"
    )
    assert len(seen) == row["count"]
