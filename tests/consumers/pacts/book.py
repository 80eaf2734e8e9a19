"""What the book service needs of Refkeep."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pact import match

from refkeep_client import Refkeep
from tests.consumers.book.illustrations import Chapter, Illustrations
from tests.consumers.pacts import documents
from tests.consumers.pacts.covers import FILLED, NOTHING, PICTURE, cover_scenes
from tests.consumers.pacts.documents import OTHER_REF_ID, REF_ID
from tests.consumers.pacts.feed import feed_scenes
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
from tests.consumers.shared.outbox import Courier
from tests.consumers.shared.refusals import Refusal

_ORDER = [UUID(OTHER_REF_ID), UUID(REF_ID)]


def _covers(refkeep: Refkeep, pool: Pool) -> Covers:
    return Covers(refkeep, pool, Courier(refkeep, pool), "book", "books")


async def _illustrations(refkeep: Refkeep, pool: Pool, book_id: str, ref_ids: list[str], version: int) -> Illustrations:
    """A book with a chapter that shows these."""
    await pool.execute("INSERT INTO books (id, title) VALUES ($1, $1)", book_id)
    query = "INSERT INTO chapters (book_id, id, illustrations, version) VALUES ($1, '1', $2, $3)"
    await pool.execute(query, book_id, ref_ids, version)
    return Illustrations(refkeep, pool, Courier(refkeep, pool))


def _appended() -> Scene:
    chapter = Chapter("appended", "1")

    async def act(refkeep: Refkeep, pool: Pool) -> None:
        illustrations = await _illustrations(refkeep, pool, chapter.book_id, [], 0)
        with whole_picture(PICTURE, "cover.jpg", "image/jpeg") as picture:
            await illustrations.append(chapter, picture, IDEMPOTENCY_KEY)
        assert (await illustrations.listed(chapter)).ref_ids == (UUID(REF_ID),)

    entity_id = chapter.entity.entity_id
    document = {
        "decision": "insert",
        "ref": documents.ref(f"block/{entity_id}/image/0", PICTURE),
        "entity": documents.entity("block", entity_id, 1),
        "event": match.str("1-2f0-1"),
    }
    path, content = f"/refs/block/{entity_id}/image", (PICTURE, "image/jpeg")
    request = Request("POST", path, {"filename": "cover.jpg"}, idempotent(), content=content)
    return Scene(act, (Exchange("another illustration", NOTHING, {}, request, Answer(201, document)),))


def _reordered() -> Scene:
    chapter = Chapter("reordered", "1")

    async def act(refkeep: Refkeep, pool: Pool) -> None:
        illustrations = await _illustrations(refkeep, pool, chapter.book_id, [REF_ID, OTHER_REF_ID], 2)
        listed = await illustrations.reorder(chapter, _ORDER, None, IDEMPOTENCY_KEY)
        assert listed == await illustrations.listed(chapter)
        assert (listed.version, listed.ref_ids) == (3, tuple(_ORDER))

    entity = documents.entity("block", chapter.entity.entity_id, 3)
    answer = Answer(200, {"decision": "reorder", "ref": None, "entity": entity})
    facts = {"role": f"block/{chapter.entity.entity_id}/image", "count": 2}
    return Scene(act, (Exchange("illustrations in another order", FILLED, facts, _order(chapter, 2), answer),))


def _too_late() -> Scene:
    chapter = Chapter("late", "1")
    entity_id = chapter.entity.entity_id

    async def act(refkeep: Refkeep, pool: Pool) -> None:
        illustrations = await _illustrations(refkeep, pool, chapter.book_id, [REF_ID, OTHER_REF_ID], 1)
        with pytest.raises(Refusal) as refused:
            await illustrations.reorder(chapter, _ORDER, 1, IDEMPOTENCY_KEY)
        assert refused.value.status == 412
        assert (await illustrations.listed(chapter)).version == 2

    facts = {"role": f"block/{entity_id}/image", "count": 2}
    conflict = Answer(412, documents.problem(412, "version-conflict", version=match.int(2)), PROBLEM)
    items = [
        documents.ref(f"block/{entity_id}/image/{position}", PICTURE, ref_id)
        for position, ref_id in enumerate([REF_ID, OTHER_REF_ID])
    ]
    document = {"entity": documents.entity("block", entity_id, 2), "items": items, "next": None}
    look = Request("GET", f"/refs/block/{entity_id}/image")
    return Scene(
        act,
        (
            Exchange("an order of what was there before", FILLED, facts, _order(chapter, 1), conflict),
            Exchange("the illustrations of a chapter", FILLED, facts, look, Answer(200, document)),
        ),
    )


def _order(chapter: Chapter, version: int) -> Request:
    generated: dict[str, Any] = {
        "body": {"$.ref_ids[0]": from_state("${second}"), "$.ref_ids[1]": from_state("${first}")}
    }
    return Request(
        "PUT",
        f"/refs/block/{chapter.entity.entity_id}/image/order",
        headers={**idempotent(), "if-match": f'"{version}"'},
        json={"ref_ids": [documents.ref_id(OTHER_REF_ID), documents.ref_id(REF_ID)]},
        generated=generated,
    )


SCENES = [
    *cover_scenes(_covers, "book", "title"),
    *feed_scenes(_covers, "book", "title"),
    _appended(),
    _reordered(),
    _too_late(),
]
