"""The contract of `service.ports.access`, sentence by sentence, for every adapter."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from service.domain.errors import IdempotencyKeyReuse, NotFound
from service.ports.access import ApiKey, Scope, WorkspaceOutcome
from service.ports.idempotency import Claim, Replay
from tests.parts.ledgers import Ledger, fresh_workspace

pytestmark = pytest.mark.anyio

_numbers = count(1)


def key_for(workspace: str | None, *scopes: Scope) -> ApiKey:
    """A key with an id of its own."""
    return ApiKey(f"key-{next(_numbers)}", b"h" * 32, "a name", frozenset(scopes or {Scope.READ}), workspace)


async def test_a_key_is_found_as_it_was_added(ledger: Ledger) -> None:
    bound = key_for(await ledger.workspace(), Scope.READ, Scope.WRITE, Scope.ADMIN)
    unbound = key_for(None, Scope.OPERATOR)
    for key in (bound, unbound):
        await ledger.keys.add(key)
        found = await ledger.keys.find(key.id)
        assert found is not None
        assert found.created_at is not None
        assert replace(found, created_at=None) == key


async def test_an_unknown_key_is_none(ledger: Ledger) -> None:
    assert await ledger.keys.find("nobody's") is None


async def test_a_key_of_an_unknown_workspace_is_not_added(ledger: Ledger) -> None:
    key = key_for("nobody")
    with pytest.raises(NotFound):
        await ledger.keys.add(key)
    assert await ledger.keys.find(key.id) is None


async def test_keys_are_listed_oldest_first(ledger: Ledger) -> None:
    added = [key_for(None) for _ in range(3)]
    for key in added:
        await ledger.keys.add(key)
    listed = [key.id for key in await ledger.keys.all()]
    assert [id_ for id_ in listed if id_ in {key.id for key in added}] == [key.id for key in added]


async def test_a_revoked_key_stays_revoked_since_the_first_time(ledger: Ledger) -> None:
    key = key_for(None)
    await ledger.keys.add(key)
    revoked = await ledger.keys.revoke(key.id)
    assert revoked.revoked_at is not None
    assert await ledger.keys.revoke(key.id) == revoked
    assert await ledger.keys.find(key.id) == revoked


async def test_an_unknown_key_cannot_be_revoked(ledger: Ledger) -> None:
    with pytest.raises(NotFound):
        await ledger.keys.revoke("nobody's")


async def test_a_workspace_begins_empty(ledger: Ledger) -> None:
    made = await ledger.workspaces.ensure("made-by-ensure")
    assert (made.slug, made.max_bytes, made.max_items) == ("made-by-ensure", None, None)
    assert (made.used_bytes, made.used_items) == (0, 0)
    assert await ledger.workspaces.find("made-by-ensure") == made
    assert await ledger.workspaces.exists("made-by-ensure")
    assert await ledger.workspaces.find("nobody") is None
    assert not await ledger.workspaces.exists("nobody")


async def test_ensure_leaves_a_workspace_as_it_is(ledger: Ledger) -> None:
    slug = await ledger.workspace(max_bytes=5, max_items=1)
    before = await ledger.workspaces.find(slug)
    assert await ledger.workspaces.ensure(slug) == before


async def test_another_quota_leaves_the_use_as_it_is(ledger: Ledger) -> None:
    slug = await ledger.workspace()
    await ledger.hold(slug, size=7)
    changed = fresh_workspace(await ledger.workspaces.put(slug, 100, 3)).workspace
    assert (changed.max_bytes, changed.max_items, changed.used_bytes, changed.used_items) == (100, 3, 7, 1)
    assert await ledger.workspaces.find(slug) == changed


async def test_whoever_makes_a_workspace_is_told_so(ledger: Ledger) -> None:
    slug = f"made-by-put-{next(_numbers)}"
    first, second = [fresh_workspace(await ledger.workspaces.put(slug, 5, None)) for _ in range(2)]
    assert (first.is_new, second.is_new) == (True, False)
    assert first.workspace == second.workspace


async def test_a_quota_with_a_key_is_put_once(ledger: Ledger) -> None:
    slug, key = await ledger.workspace(), f"quota-{next(_numbers)}"

    def claim(request: bytes = b"a request") -> Claim[WorkspaceOutcome]:
        return Claim(key, request, lambda outcome: repr(outcome).encode())

    told = fresh_workspace(await ledger.workspaces.put(slug, 5, 1, claim()))
    await ledger.workspaces.put(slug, 7, 2)
    assert await ledger.workspaces.put(slug, 5, 1, claim()) == Replay(repr(told).encode())
    with pytest.raises(IdempotencyKeyReuse):
        await ledger.workspaces.put(slug, 5, 1, claim(b"another"))
    found = await ledger.workspaces.find(slug)
    assert found is not None
    assert (found.max_bytes, found.max_items) == (7, 2), "the replay put nothing"


async def test_workspaces_are_listed_by_slug(ledger: Ledger) -> None:
    for _ in range(3):
        await ledger.workspace()
    slugs = [workspace.slug for workspace in await ledger.workspaces.all()]
    assert slugs == sorted(slugs)
    assert len(slugs) >= 3
