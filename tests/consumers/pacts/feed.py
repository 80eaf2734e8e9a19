"""What both services ask of Refkeep's feed."""

from __future__ import annotations

import msgspec
import pytest
from pact import match

from refkeep_client import CursorExpired, EntityKey, Refkeep
from tests.consumers.pacts import documents
from tests.consumers.pacts.covers import FILLED, PICTURE, MakeCovers, opened
from tests.consumers.pacts.documents import REF_ID
from tests.consumers.pacts.scene import NDJSON, PROBLEM, Answer, Exchange, Request, Scene, from_state
from tests.consumers.shared.database import Pool
from tests.consumers.shared.projection import Projection

CURSOR = "1-2e0-1"


def feed_scenes(covers_of: MakeCovers, kind: str, named: str) -> list[Scene]:
    """Of a `kind` of entity whose table has the column `named`."""
    return [_told(covers_of, kind, named), _missed(covers_of, kind, named), _snapshot(covers_of, kind), _expired()]


def _told(covers_of: MakeCovers, kind: str, named: str) -> Scene:
    """An event brings what the answer to the upload would have told."""

    async def act(refkeep: Refkeep, pool: Pool) -> None:
        covers = covers_of(refkeep, pool)
        await opened(covers, "told", named)
        page = await anext(refkeep.events.pages(CURSOR))
        await Projection(refkeep, pool, covers).take(page)
        row = await covers.row("told")
        assert (str(row["cover_ref_id"]), row["cover_version"]) == (REF_ID, 1)
        assert await pool.fetchval("SELECT cursor FROM feed") == page.next

    request = Request(
        "GET",
        "/events",
        {"after": match.str(CURSOR), "wait": "25"},
        generated={"query": {"after": from_state("${cursor}")}},
    )
    event = documents.inserted(kind, "told", "cover", PICTURE)
    document = {
        "events": match.array_containing([event]),
        "next": match.str("1-2f0-1"),
        "caught_up": match.bool(True),
    }
    facts = {"role": f"{kind}/told/cover", "count": 1}
    return Scene(act, (Exchange("events behind a cursor", FILLED, facts, request, Answer(200, document)),))


def _missed(covers_of: MakeCovers, kind: str, named: str) -> Scene:
    """Where events were missed, the entity is asked for."""

    async def act(refkeep: Refkeep, pool: Pool) -> None:
        covers = covers_of(refkeep, pool)
        await opened(covers, "missed", named)
        await Projection(refkeep, pool, covers).ask_for(EntityKey(kind, "missed"))
        assert str((await covers.row("missed"))["cover_ref_id"]) == REF_ID

    document = {
        "entity": documents.entity(kind, "missed", 1),
        "items": [documents.ref(f"{kind}/missed/cover/0", PICTURE)],
        "next": None,
    }
    facts = {"role": f"{kind}/missed/cover", "count": 1}
    request = Request("GET", f"/refs/{kind}/missed")
    return Scene(act, (Exchange(f"all refs of a {kind}", FILLED, facts, request, Answer(200, document)),))


def _snapshot(covers_of: MakeCovers, kind: str) -> Scene:
    async def act(refkeep: Refkeep, pool: Pool) -> None:
        await pool.execute("UPDATE feed SET cursor = NULL")
        await pool.execute("TRUNCATE projection")
        await pool.execute(f"UPDATE {covers_of(refkeep, pool).table} SET cover_ref_id = NULL")
        assert await Projection(refkeep, pool, covers_of(refkeep, pool)).cursor() == CURSOR
        assert await pool.fetchval("SELECT version FROM projection WHERE entity_id = 'shown'") == 1

    line = {**documents.example(documents.ref(f"{kind}/shown/cover/0", PICTURE)), "version": 1}
    text = f'{{"cursor":"{CURSOR}"}}\n' + msgspec.json.encode(line).decode() + "\n"
    names = r'\{"ref_id":"[0-9a-f-]{36}","workspace":"[^"]+","entity_type":"[^"]+","entity_id":"[^"]+","role":"[^"]+",'
    pattern = r'\{"cursor":"[^"]+"\}\n(?:' + names + r'"position":\d+,"state":"live",.*"version":\d+\}\n)+'
    facts = {"role": f"{kind}/shown/cover", "count": 1}
    answer = Answer(200, media_type=NDJSON, text=(text, pattern))
    return Scene(act, (Exchange("a snapshot", FILLED, facts, Request("GET", "/snapshot"), answer),))


def _expired() -> Scene:
    async def act(refkeep: Refkeep, _: Pool) -> None:
        with pytest.raises(CursorExpired):
            await anext(refkeep.events.pages("1-1-1"))

    request = Request(
        "GET",
        "/events",
        {"after": match.str("1-1-1"), "wait": "25"},
        generated={"query": {"after": from_state("${cursor}")}},
    )
    answer = Answer(410, documents.problem(410, "cursor-expired"), PROBLEM)
    return Scene(act, (Exchange("events behind a cursor that expired", "events were dropped", {}, request, answer),))
