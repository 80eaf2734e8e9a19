"""What both services ask of Refkeep for covers, and for letting go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from pact import match

from refkeep_client import EntityKey, Refkeep
from tests import samples
from tests.consumers.pacts import documents
from tests.consumers.pacts.documents import REF_ID
from tests.consumers.pacts.scene import (
    IDEMPOTENCY_KEY,
    PROBLEM,
    Answer,
    Exchange,
    Request,
    Scene,
    from_state,
    idempotent,
    whole_picture,
)
from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import Pool
from tests.consumers.shared.outbox import Courier, promise_release
from tests.consumers.shared.refusals import Refusal

MakeCovers = Callable[[Refkeep, Pool], Covers]
PICTURE = samples.jpeg()
NOTHING, FILLED = "nothing is shown", "a role shows pictures"


def cover_scenes(covers_of: MakeCovers, kind: str, named: str) -> list[Scene]:
    """Of a `kind` of entity whose table has the column `named`."""
    return [
        _first(covers_of, kind, named),
        _second(covers_of, kind, named),
        _refused(covers_of, kind, named),
        _departed(covers_of, kind, named),
        _let_go(kind),
    ]


async def opened(covers: Covers, owner_id: str, named: str) -> None:
    """A row of the table."""
    await covers.pool.execute(f"INSERT INTO {covers.table} (id, {named}) VALUES ($1, $1)", owner_id)


def _first(covers_of: MakeCovers, kind: str, named: str) -> Scene:
    async def act(refkeep: Refkeep, pool: Pool) -> None:
        covers = covers_of(refkeep, pool)
        await opened(covers, "first", named)
        with whole_picture(PICTURE, "cover.jpg", "image/jpeg") as picture:
            assert (await covers.put("first", picture, IDEMPOTENCY_KEY)).decision == "insert"
        assert str((await covers.row("first"))["cover_ref_id"]) == REF_ID

    answer = Answer(201, _attached(kind, "first", "insert", 1))
    return Scene(act, (Exchange(f"a first cover of a {kind}", NOTHING, {}, _put(kind, "first"), answer),))


def _second(covers_of: MakeCovers, kind: str, named: str) -> Scene:
    async def act(refkeep: Refkeep, pool: Pool) -> None:
        covers = covers_of(refkeep, pool)
        await opened(covers, "second", named)
        with whole_picture(PICTURE, "cover.jpg", "image/jpeg") as picture:
            attached = await covers.put("second", picture, IDEMPOTENCY_KEY)
        assert (attached.decision, attached.replaced is not None) == ("replace", True)
        assert str((await covers.row("second"))["cover_ref_id"]) == REF_ID

    replaced = documents.trashed(f"{kind}/second/cover/0", PICTURE)
    answer = Answer(200, {**_attached(kind, "second", "replace", 2), "replaced": replaced})
    facts = {"role": f"{kind}/second/cover", "count": 1}
    return Scene(act, (Exchange(f"another cover of a {kind}", FILLED, facts, _put(kind, "second"), answer),))


def _refused(covers_of: MakeCovers, kind: str, named: str) -> Scene:
    async def act(refkeep: Refkeep, pool: Pool) -> None:
        covers = covers_of(refkeep, pool)
        await opened(covers, "refused", named)
        with (
            whole_picture(samples.text(), "notes.txt", "text/plain") as picture,
            pytest.raises(Refusal) as refused,
        ):
            await covers.put("refused", picture, IDEMPOTENCY_KEY)
        assert (refused.value.status, refused.value.code) == (415, "media-type-not-allowed")
        assert (await covers.row("refused"))["cover_ref_id"] is None

    content = samples.text(), "application/octet-stream"
    request = Request("PUT", f"/refs/{kind}/refused/cover/0", {"filename": "notes.txt"}, idempotent(), content=content)
    answer = Answer(415, documents.problem(415, "media-type-not-allowed"), PROBLEM)
    return Scene(act, (Exchange(f"a cover of a {kind} that is no picture", NOTHING, {}, request, answer),))


def _departed(covers_of: MakeCovers, kind: str, named: str) -> Scene:
    async def act(refkeep: Refkeep, pool: Pool) -> None:
        covers = covers_of(refkeep, pool)
        await opened(covers, "departed", named)
        async with pool.acquire() as connection, connection.transaction():
            assert await covers.depart(connection, "departed")
        assert await Courier(refkeep, pool).hurry(EntityKey(kind, "departed"))

    request = Request("DELETE", f"/refs/{kind}/departed", headers=idempotent())
    released = {"decision": "release", "ref": None, "entity": documents.entity(kind, "departed", 2)}
    answer = Answer(200, released)
    facts = {"role": f"{kind}/departed/cover", "count": 1}
    return Scene(act, (Exchange(f"a {kind} is gone", FILLED, facts, request, answer),))


def _let_go(kind: str) -> Scene:
    entity = EntityKey(kind, "changed")

    async def act(refkeep: Refkeep, pool: Pool) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await promise_release(connection, entity, UUID(REF_ID))
        assert await Courier(refkeep, pool).hurry(entity)

    generated = {"path": from_state("/media/${first}")}
    request = Request("DELETE", f"/media/{REF_ID}", headers=idempotent(), generated=generated)
    trashed = documents.trashed(f"{kind}/changed/cover/0", PICTURE, REF_ID)
    answer = Answer(200, {"decision": "release", "ref": trashed, "entity": documents.entity(kind, "changed", 2)})
    facts = {"role": f"{kind}/changed/cover", "count": 1}
    return Scene(act, (Exchange("a ref is let go of", FILLED, facts, request, answer),))


def _put(kind: str, owner_id: str) -> Request:
    path, content = f"/refs/{kind}/{owner_id}/cover/0", (PICTURE, "image/jpeg")
    return Request("PUT", path, {"filename": "cover.jpg"}, idempotent(), content=content)


def _attached(kind: str, owner_id: str, decision: str, version: int) -> dict[str, Any]:
    return {
        "decision": decision,
        "ref": documents.ref(f"{kind}/{owner_id}/cover/0", PICTURE),
        "entity": documents.entity(kind, owner_id, version),
        "event": match.str("1-2f0-1"),
    }
