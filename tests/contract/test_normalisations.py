"""The contract of `service.ports.normalisations`, sentence by sentence, for every adapter."""

from __future__ import annotations

import pytest

from service.domain.errors import NotFound
from tests.parts.ledgers import ACTOR, Ledger, new_hash

pytestmark = pytest.mark.anyio

ONE, OTHER = "0123456789abcdef", "fedcba9876543210"


async def test_what_is_remembered_is_recalled_by_its_definition_and_its_workspace(ledger: Ledger) -> None:
    workspace, stranger = await ledger.workspace(), await ledger.workspace()
    memory, sent, made = ledger.normalisations, await ledger.hold(workspace), await ledger.hold(workspace)
    for sha256 in (sent, made):
        await ledger.publish(stranger, sha256)
    assert await memory.recall(workspace, sent, ONE) is None
    await memory.remember(workspace, sent, ONE, made)
    assert await memory.recall(workspace, sent, ONE) == made
    asked = [(workspace, sent, OTHER), (workspace, made, ONE), (stranger, sent, ONE), (workspace, new_hash(), ONE)]
    assert [await memory.recall(*each) for each in asked] == [None] * 4


async def test_a_picture_that_complied_is_recalled_as_itself(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sent = await ledger.hold(workspace)
    await ledger.normalisations.remember(workspace, sent, ONE, sent)
    assert await ledger.normalisations.recall(workspace, sent, ONE) == sent


async def test_what_is_remembered_last_counts(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    sent, made = await ledger.hold(workspace), await ledger.hold(workspace)
    for result in (sent, made):
        await ledger.normalisations.remember(workspace, sent, ONE, result)
    assert await ledger.normalisations.recall(workspace, sent, ONE) == made


@pytest.mark.parametrize("ends", ["sent", "made"])
async def test_it_keeps_nothing_alive_and_forgets_with_either_of_them(ledger: Ledger, ends: str) -> None:
    workspace = await ledger.workspace()
    memory, sent, made = ledger.normalisations, await ledger.hold(workspace), await ledger.hold(workspace)
    await memory.remember(workspace, sent, ONE, made)
    await ledger.blobs.release(workspace, sent if ends == "sent" else made, ACTOR)
    assert await memory.recall(workspace, sent, ONE) is None


async def test_what_is_not_held_is_not_remembered(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    memory, held = ledger.normalisations, await ledger.hold(workspace)
    await memory.remember(workspace, held, ONE, new_hash())
    await memory.remember(workspace, new_hash(), ONE, held)
    assert await memory.recall(workspace, held, ONE) is None


async def test_an_unknown_workspace_remembers_nothing(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.normalisations.recall("nobody", new_hash(), ONE)
    with pytest.raises(NotFound):
        await ledger.normalisations.remember("nobody", new_hash(), ONE, new_hash())
