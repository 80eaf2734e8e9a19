"""When it is quiet again: does everything hold that was promised, and is nothing kept without a reason?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from service.__main__ import main as refkeep
from service.adapters.postgres.database import Database
from tests.chaos.client import Client
from tests.chaos.fleet import Fleet
from tests.chaos.lifetimes import Lifetimes
from tests.chaos.places import Place, let_spools_age
from tests.chaos.tally import Tally
from tests.parts.audit import ledger_flaws
from tests.parts.service import run_command

SETTLES_IN_S = 90.0
_POLL_S = 0.5
_LEFT = {
    "reviews": "SELECT (SELECT count(*) FROM holding_reviews) + (SELECT count(*) FROM blob_reviews)",
    "objects that are not live": "SELECT count(*) FROM objects WHERE state <> 'live'",
    "refs in the trash": "SELECT count(*) FROM refs WHERE state = 'trashed'",
    "holdings without a ref": """SELECT count(*) FROM holdings h WHERE NOT EXISTS (
        SELECT FROM refs r WHERE r.workspace_id = h.workspace_id AND r.blob_id = h.blob_id) AND NOT EXISTS (
        SELECT FROM refs r WHERE r.workspace_id = h.workspace_id AND r.original_blob_id = h.blob_id)""",
    "blobs that nothing keeps": """SELECT count(*) FROM blobs b
        WHERE NOT EXISTS (SELECT FROM holdings h WHERE h.blob_id = b.id)
        AND NOT EXISTS (SELECT FROM renditions r WHERE r.blob_id = b.id)""",
    "renditions of what nobody holds": """SELECT count(*) FROM renditions r WHERE NOT EXISTS (
        SELECT FROM holdings h WHERE h.blob_id = r.parent_id)""",
}
_LIVE = "SELECT key FROM objects WHERE state = 'live'"
_COUNTS = {
    "events": "SELECT count(*) FROM events",
    "entities": "SELECT count(*) FROM entities",
    "live refs": "SELECT count(*) FROM refs WHERE state = 'live'",
    "objects made": "SELECT max(id) FROM objects",
    "objects left": "SELECT count(*) FROM objects",
}


@dataclass(frozen=True)
class Aftermath:
    """`settings` are those of the service, for its commands."""

    database: Database
    place: Place
    fleet: Fleet
    clients: Sequence[Client]
    lifetimes: Lifetimes
    settings: dict[str, str]
    tally: Tally

    async def check(self) -> None:
        """All promises at once, and again when time has ended what it may end."""
        await self._look_through()
        await self._settle()
        await self._look_through()
        await self._compare_store()
        self.tally.facts |= {name: await self._count(query) for name, query in _COUNTS.items()}

    async def _look_through(self) -> None:
        """Every ledger of a client over HTTP, the log against the tables."""
        await asyncio.gather(*(client.look_through() for client in self.clients))
        for flaw in await ledger_flaws(self.database):
            self.tally.flaw(f"replay: {flaw[:500]}")
        await self._command("events", "verify")

    async def _settle(self) -> None:
        """The collectors of the fleet bring everything that is over to its end, in bounded time."""
        began = time.monotonic()
        let_spools_age([member.data_dir for member in self.fleet.members])
        left = await self._left()
        while left and time.monotonic() - began < SETTLES_IN_S:
            await asyncio.sleep(_POLL_S)
            left = await self._left()
        self.tally.check(not left, f"after {SETTLES_IN_S:g} s of quiet there are still {left}")
        self.tally.facts["seconds until quiet"] = round(time.monotonic() - began)

    async def _left(self) -> dict[str, int]:
        counts = {name: await self._count(query) for name, query in _LEFT.items()}
        left = {name: count for name, count in counts.items() if count}
        if left:
            return left
        on_the_way = len(await asyncio.to_thread(self.place.on_the_way))
        return {"files and attempts on their way": on_the_way} if on_the_way else {}

    async def _compare_store(self) -> None:
        """Exactly the live objects.

        A killed process may have left bytes without a row, which are always garbage: they are counted, and removed
        by `refkeep fsck`.
        """
        live = {row["key"] for row in await self.database.fetch(_LIVE)}
        stored = await asyncio.to_thread(self.place.stored)
        self.tally.facts["bytes without a row"] = len(stored - live)
        self.tally.check(live <= stored, f"{len(live - stored)} live objects have no bytes")
        await self._command("fsck")
        stored = await asyncio.to_thread(self.place.stored)
        self.tally.check(stored <= live, f"{len(stored - live)} names have no live object: {sorted(stored - live)[:3]}")

    async def _command(self, *words: str) -> None:
        """A command of this release; earlier ones lack some."""
        if words[0] not in refkeep.list_commands(None):  # type: ignore[arg-type]
            self.tally.facts[f"refkeep {' '.join(words)}"] = "not in this release"
            return
        folder = self.fleet.members[0].data_dir
        done = await asyncio.to_thread(run_command, *words, DATA_DIR=folder, **self.settings)
        self.tally.facts[f"refkeep {' '.join(words)}"] = f"exit status {done.status}"
        self.tally.check(done.status == 0, f"refkeep {' '.join(words)}: {done.stdout[-500:]} {done.stderr[-500:]}")

    async def _count(self, query: str) -> int:
        return int((await self.database.fetch(query))[0][0] or 0)
