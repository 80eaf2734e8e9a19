"""The contract of `service.ports.notes`, for every store."""

from __future__ import annotations

from typing import cast

import pytest

from service.domain.errors import StorageUnavailable
from service.ports.notes import StoreNotes
from tests.contract.conftest import LosableStore, Store
from tests.parts.blobs import keys

pytestmark = pytest.mark.anyio


def notes(store: Store | LosableStore) -> StoreNotes:
    return cast("StoreNotes", store.storage)


async def test_a_note_that_was_never_written_is_none(bare: Store) -> None:
    assert await notes(bare).read_note("sentinel") is None


async def test_a_note_says_what_was_written_last(bare: Store) -> None:
    await notes(bare).write_note("sentinel", b"first")
    await notes(bare).write_note("sentinel", b"second, which is longer")
    await notes(bare).write_note("fence", b"another")
    assert await notes(bare).read_note("sentinel") == b"second, which is longer"
    assert await notes(bare).read_note("fence") == b"another"


async def test_no_listing_shows_a_note_and_nothing_else_is_left_of_it(bare: Store) -> None:
    before = await bare.contents()
    await notes(bare).write_note("sentinel", b"here")
    assert await keys(bare.storage) == []
    assert await bare.contents() - before <= {"sentinel"}


@pytest.mark.parametrize("name", ["", "ab", "../up", "Sentinel", "ab/cd", "a b c"])
async def test_other_names_are_refused(bare: Store, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a note"):
        await notes(bare).read_note(name)
    with pytest.raises(ValueError, match="no name of a note"):
        await notes(bare).write_note(name, b"")


async def test_a_lost_store_is_never_a_missing_note(losable: LosableStore) -> None:
    await losable.lose()
    with pytest.raises(StorageUnavailable):
        await notes(losable).read_note("sentinel")
