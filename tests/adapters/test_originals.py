"""Refs that remember what they were made of, on a real Postgres: what is kept stays with them, and the log says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.reasons import PostgresReasons
from service.domain.blob import Sha256
from service.domain.errors import BlobInUse, BlobNotHeld
from service.domain.event import DecisionKind, RefEvent
from service.domain.ref import Labels, Original
from service.domain.slot import EntityKey
from service.ports.reasons import ReasonKind
from tests.parts.blobs import keys
from tests.parts.collecting import MOMENT, QUARANTINE, Yard, opened_yard
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    TRASH,
    attach,
    book,
    new_hash,
    opened_database,
    postgres_ledger,
    purge,
    ref_of,
    release_ref,
    restore,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
async def yard(database_url: str, tmp_path: Path) -> AsyncIterator[Yard]:
    store = FilesystemStorage(tmp_path)
    await store.aopen()
    async with (
        opened_database(database_url, 8) as database,
        opened_yard(database, store, postgres_ledger(database)) as made,
    ):
        yield made


@pytest.fixture
async def entity(yard: Yard) -> EntityKey:
    return book(await yard.ledger.workspace())


async def both(yard: Yard, entity: EntityKey) -> tuple[Sha256, Sha256]:
    """What was sent, and what was made of it."""
    return await yard.upload(entity.workspace), await yard.upload(entity.workspace)


async def test_a_kept_original_stays_as_long_as_its_ref_and_goes_with_it(yard: Yard, entity: EntityKey) -> None:
    sent, made = await both(yard, entity)
    ref = ref_of(await yard.ledger.attach(attach(entity, "cover", made, 0, sent=sent)))
    assert ref.original == Original(sent, kept=True)
    await yard.advance(LEASE + MOMENT)
    assert (await yard.collector().plan()).release.count == 0
    await yard.collect()
    with pytest.raises(BlobInUse):
        await yard.ledger.blobs.release(entity.workspace, sent, ACTOR)
    await yard.ledger.change(release_ref(entity.workspace, ref.ref_id))
    await yard.collect()
    assert await yard.readable(sent)
    assert await yard.flaws() == []
    await yard.advance(TRASH + MOMENT)
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert await keys(yard.store) == []
    assert await yard.leftovers() == []
    assert await yard.flaws() == []


async def test_the_log_tells_of_originals_through_the_whole_life_of_a_ref(yard: Yard, entity: EntityKey) -> None:
    """Inserted, updated, replaced, released, restored, purged: folding the log makes the tables each time."""
    sent, made = await both(yard, entity)
    other, other_made = await both(yard, entity)
    first = ref_of(await yard.ledger.attach(attach(entity, "cover", made, 0, sent=sent)))
    assert await yard.flaws() == []
    updated = await yard.ledger.attach(attach(entity, "cover", made, 0, sent=other, labels=Labels(alt="again")))
    assert (updated.decision, ref_of(updated).original) == (DecisionKind.UPDATE, Original(other, kept=True))
    assert await yard.flaws() == []
    second = ref_of(await yard.ledger.attach(attach(entity, "cover", other_made, 0, sent=sent)))
    assert await yard.flaws() == []
    await yard.ledger.change(release_ref(entity.workspace, second.ref_id))
    await yard.ledger.change(restore(entity.workspace, first.ref_id))
    assert await yard.flaws() == []
    await yard.ledger.change(purge(entity.workspace, second.ref_id))
    found = await yard.ledger.refs.find(entity.workspace, first.ref_id)
    assert found is not None
    assert found.ref.original == Original(other, kept=True)
    assert await yard.flaws() == []
    told = [event.ref.original for event in await yard.ledger.events(entity.workspace)
            if isinstance(event, RefEvent) and event.ref is not None]  # fmt: skip
    assert [None if each is None else each.sha256 for each in told] == [sent, other, sent, sent, other, sent]


async def test_an_original_that_gives_way_to_another_is_looked_at_again(yard: Yard, entity: EntityKey) -> None:
    sent, made = await both(yard, entity)
    await yard.ledger.attach(attach(entity, "cover", made, 0, sent=sent))
    await yard.advance(LEASE + MOMENT)
    await yard.collect()
    other = await yard.upload(entity.workspace)
    await yard.ledger.attach(attach(entity, "cover", made, 0, sent=other))
    await yard.collect()
    await yard.advance(QUARANTINE + MOMENT)
    await yard.collect()
    assert not await yard.readable(sent)
    assert await yard.readable(other)
    assert await yard.flaws() == []


async def test_an_original_that_is_not_held_is_refused_and_nothing_is_written(yard: Yard, entity: EntityKey) -> None:
    sent, made = await both(yard, entity)
    await yard.ledger.blobs.release(entity.workspace, sent, ACTOR)
    for gone in (sent, new_hash()):
        with pytest.raises(BlobNotHeld):
            await yard.ledger.attach(attach(entity, "cover", made, 0, sent=gone))
    await yard.collect()
    with pytest.raises(BlobNotHeld):
        await yard.ledger.attach(attach(entity, "cover", made, 0, sent=sent))
    assert (await yard.ledger.refs.of_entity(entity)).refs == ()


async def test_why_names_the_ref_that_keeps_an_original(yard: Yard, entity: EntityKey) -> None:
    sent, made = await both(yard, entity)
    ref = ref_of(await yard.ledger.attach(attach(entity, "cover", made, 0, sent=sent)))
    told = await PostgresReasons(yard.database).of_blob(sent, entity.workspace)
    assert told is not None
    kinds = {reason.kind: reason.used_by for reason in told.reasons}
    assert set(kinds) == {ReasonKind.ORIGINAL, ReasonKind.HOLDING}
    used_by = kinds[ReasonKind.ORIGINAL]
    assert used_by is not None
    assert used_by.ref_id == ref.ref_id
