"""Imports on a real database: what another system has becomes refs, and what somebody writes meanwhile stays."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, cast
from uuid import UUID

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.database import Database
from service.adapters.postgres.imports import PostgresImports
from service.adapters.sources.hosts import parse_allowed_host
from service.adapters.sources.web import WebSource
from service.application.changes import Command
from service.application.import_entity import Effort
from service.application.purge_due import PurgeDue
from service.application.side_by_side import side_by_side
from service.domain.blob import Sha256
from service.domain.errors import ImportRolledBack, Unavailable
from service.domain.event import DecisionKind, EventType, RefEvent
from service.domain.importing import EntityStory, ManifestRow, Verdict
from service.domain.lifecycle import ReleaseRef, Revise, Revision
from service.domain.slot import EntityKey
from service.ports.imports import RunState
from service.ports.sources import SourceFailed
from service.schemas.manifest import COLUMNS, parse_manifest
from tests.parts.audit import ledger_flaws
from tests.parts.importing import RULES, ImportDesk, Told
from tests.parts.ledgers import ACTOR, Ledger, hash_of, set_clock_ahead
from tests.parts.manifests import line, picture
from tests.parts.picture_host import only_loopback, running_host

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/import.md").read_text()


@pytest.fixture
async def desk(database: Database, ledger: Ledger, tmp_path: Path) -> AsyncIterator[ImportDesk]:
    """An import in a workspace that has nothing yet, over an empty folder."""
    store = FilesystemStorage(tmp_path / "store")
    await store.aopen()
    files = tmp_path / "files"
    files.mkdir()
    await ledger.workspaces.put("demo", None, None)
    await database.fetch("""TRUNCATE imports, import_entities, objects, blobs, holdings, holds, entities, refs,
        tombstones, events, rejections, idempotency, holding_reviews, blob_reviews, renditions, normalisations""")
    await database.fetch("UPDATE workspaces SET used_bytes = 0, used_items = 0, max_items = NULL, max_bytes = NULL")
    yield ImportDesk(database, store, ledger, files)
    await set_clock_ahead(database, timedelta())
    assert await ledger_flaws(database) == []


def marker(number: int) -> EntityKey:
    return EntityKey("demo", "checkpoint_marker", f"m{number}")


def lines(desk: ImportDesk, count: int, per_entity: int = 1) -> list[dict[str, object]]:
    """Rows with their files, `per_entity` for each marker."""
    return [
        line(n, entity_id=f"m{n // per_entity}", order=n % per_entity * 10, path=desk.file(f"{n}.png"))
        for n in range(count)
    ]


async def change(desk: ImportDesk, command: Command) -> None:
    """What a caller of the API does."""
    asked = RULES.change(command)
    await desk.refs.change(asked.question, asked.judge)


async def events_of(desk: ImportDesk) -> list[RefEvent]:
    return [event for event in await desk.ledger.events("demo") if isinstance(event, RefEvent)]


async def test_57_legacy_markers_become_refs_in_their_order(desk: ImportDesk) -> None:
    """The example of docs/import.md, by its own query: a table of markers with an `image_url`, in no order."""
    await desk.ledger.workspaces.put("atlas", None, None)
    await desk.database.fetch("CREATE TABLE markers (id int, route_id int, sort int, image_url text, caption text)")
    async with running_host() as host:
        desk.web.allowed = (parse_allowed_host(f"localhost:{host.port}"),)
        desk.web.reachable = only_loopback
        for n in Random(57).sample(range(57), 57):
            values = n, n % 3, n * 5 - 40, host.url(f"/{n}.png"), f"Marker {n}"
            await desk.database.fetch("INSERT INTO markers VALUES ($1, $2, $3, $4, $5)", *values)
        await desk.database.fetch("INSERT INTO markers VALUES (57, 0, 0, NULL, 'without a picture')")
        [query] = blocks_of("sql")
        told = await desk.run([dict(row) for row in await desk.database.fetch(query)])
        await desk.web.aclose()
        assert (told.counts, sum(host.asked.values())) == ({"imported": 57}, 57)
    await desk.database.fetch("DROP TABLE markers")
    for route in range(3):
        entity = EntityKey("atlas", "checkpoint_marker", f"route-{route}")
        assert await desk.bytes_of(entity) == [picture(f"/{n}.png") for n in range(route, 57, 3)]
        refs = (await desk.ledger.refs.of_entity(entity)).refs
        assert [each.ref.labels.alt for each in refs] == [f"Marker {n}" for n in range(route, 57, 3)]
    assert told.run is not None
    events = [event for event in await desk.ledger.events("atlas") if isinstance(event, RefEvent)]
    assert {event.actor.id for event in events} == {f"import:{told.run.id}"}
    assert {(event.type, event.decision) for event in events} == {(EventType.REF_INSERTED, DecisionKind.INSERT)}
    assert {str(result.ref_id) for result in told.results} == {str(event.ref.ref_id) for event in events if event.ref}


def blocks_of(language: str) -> list[str]:
    """The examples of docs/import.md."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def test_every_manifest_of_the_document_can_be_read() -> None:
    for block in (*blocks_of("csv"), *blocks_of("json")):
        entries = [*parse_manifest(enumerate(block.encode().splitlines(keepends=True), 1))]
        assert entries
        assert all(isinstance(entry, ManifestRow) for entry in entries), entries


def test_the_document_names_every_column_outcome_and_code() -> None:
    rows = "\n".join(line for line in DOCUMENT.splitlines() if line.startswith("| `"))
    named = {*re.findall(r"`([a-z0-9_-]+)`", rows)}
    assert {*COLUMNS} <= named
    assert {verdict.value for verdict in Verdict} <= named
    code = "\n".join(path.read_text() for path in (ROOT / "service").rglob("*.py") if "import" in path.name)
    code += (ROOT / "service/schemas/manifest.py").read_text() + (
        ROOT / "service/adapters/sqlite/worklist.py"
    ).read_text()
    given = {*re.findall(r'Reason\(\s*"([a-z-]+)"', code), *re.findall(r'_mark\(\s*"([a-z-]+)"', code)}
    assert len(given) > 8
    assert given - {"touched", "busy"} <= named


async def test_given_again_it_does_nothing_and_is_the_same_run(desk: ImportDesk) -> None:
    manifest = lines(desk, 6, per_entity=3)
    first = await desk.run(manifest)
    before = await desk.picture()
    desk.sources.opened.clear()
    second = await desk.run(manifest)
    assert (first.counts, second.counts) == ({"imported": 6}, {"noop": 6})
    assert [result.ref_id for result in first.results] == [result.ref_id for result in second.results]
    assert [result.position for result in second.results] == [0, 1, 2, 0, 1, 2]
    assert (desk.sources.opened, await desk.picture()) == ([], before)
    assert first.run is not None
    assert second.run is not None
    assert (first.run.id, (await desk.imports.find(first.run.id)).state) == (second.run.id, RunState.DONE)


async def test_rows_that_are_new_in_a_later_manifest_go_where_they_belong(desk: ImportDesk) -> None:
    manifest = lines(desk, 5, per_entity=5)
    first = await desk.run([manifest[1], manifest[3]])
    second = await desk.run(manifest)
    assert (first.counts, second.counts) == ({"imported": 2}, {"noop": 2, "imported": 3})
    assert await desk.bytes_of(marker(0)) == [picture(f"{n}.png") for n in range(5)]
    assert first.run is not None
    assert second.run is not None
    assert first.run.id != second.run.id


async def test_what_somebody_wrote_before_stays_and_the_rest_is_imported(desk: ImportDesk) -> None:
    manifest = lines(desk, 4, per_entity=2)
    book = EntityKey("demo", "book", "1")
    manifest.append(line(9, entity_type="book", entity_id="1", role="cover", path=desk.file("9.png")))
    await desk.attach(marker(0), "image", picture("live"))
    await desk.attach(book, "cover", picture("live cover"), 0)
    told = await desk.run(manifest)
    assert told.counts == {"imported": 2, "skipped": 3}
    assert told.codes() == {"written-live": 3}
    assert await desk.bytes_of(marker(0)) == [picture("live")]
    assert await desk.bytes_of(book, "cover") == [picture("live cover")]
    assert await desk.bytes_of(marker(1)) == [picture("2.png"), picture("3.png")]
    assert [text for text in desk.sources.opened if text in {"0.png", "1.png", "9.png"}] == []


async def test_what_somebody_writes_while_bytes_are_fetched_stays(desk: ImportDesk) -> None:
    manifest = lines(desk, 2, per_entity=2)

    async def write(text: str) -> None:
        if text == "1.png":
            await desk.attach(marker(0), "image", picture("live"))

    desk.sources.before = write
    told = await desk.run(manifest)
    assert (told.counts, told.codes()) == ({"skipped": 2}, {"written-live": 2})
    assert await desk.bytes_of(marker(0)) == [picture("live")]


async def test_a_role_that_nobody_wrote_is_imported_though_another_role_was_meanwhile(desk: ImportDesk) -> None:
    blocks = [
        line(0, entity_type="block", entity_id="1", role="image", path=desk.file("0.png")),
        line(1, entity_type="block", entity_id="1", role="video", path=desk.file("1.mp4", b"never read")),
    ]
    block = EntityKey("demo", "block", "1")
    video = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2mp41" + b"\0" * 64
    await desk.attach(block, "video", video)
    told = await desk.run(blocks)
    assert told.outcomes() == {"marker:0": "imported", "marker:1": "skipped"}
    assert len(await desk.refs_of(block)) == len(await desk.refs_of(block, "video")) == 1


class Busy:
    """A ledger whose entity is written to whenever an import has looked at it."""

    def __init__(self, desk: ImportDesk, times: int) -> None:
        self._desk, self._inner, self.left = desk, desk.imports, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def story(self, entity: EntityKey, early: Sequence[UUID] = ()) -> EntityStory:
        found: EntityStory = await self._inner.story(entity, early)
        if self.left:
            self.left -= 1
            await self._desk.attach(entity, "video", b"\0\0\0\x20ftypisom" + str(self.left).encode() + b"\0" * 99)
        return found


@pytest.mark.parametrize(("times", "counts"), [(4, {"imported": 2}), (99, {"failed": 2})])
async def test_an_entity_that_is_written_to_all_the_time_is_left_for_later(
    desk: ImportDesk, times: int, counts: dict[str, int]
) -> None:
    blocks = [
        line(n, entity_type="block", entity_id="1", order=n, role="image", path=desk.file(f"{n}.png")) for n in range(2)
    ]
    busy = Busy(desk, times)
    desk.imports = busy
    told = await desk.run(blocks)
    assert told.counts == counts
    assert sorted({*desk.sources.opened}) == sorted(desk.sources.opened), "bytes are fetched once"
    if "failed" in counts:
        assert told.codes() == {"version-conflict": 2}
        busy.left = 0
        assert (await desk.run(blocks)).counts == {"imported": 2}


async def test_an_entity_is_imported_whole_or_not_at_all(desk: ImportDesk) -> None:
    manifest = lines(desk, 6, per_entity=3)
    (desk.folder / "1.png").unlink()
    told = await desk.run(manifest)
    assert told.outcomes() == {
        "marker:0": "held-back", "marker:1": "failed", "marker:2": "held-back",
        "marker:3": "imported", "marker:4": "imported", "marker:5": "imported",
    }  # fmt: skip
    assert told.codes() == {"source-failed": 1, "held-back": 2}
    assert await desk.refs_of(marker(0)) == []
    desk.file("1.png")
    again = await desk.run(manifest)
    assert (again.counts, again.run) == ({"imported": 3, "noop": 3}, replace_touched(again.run, told.run))
    assert await desk.bytes_of(marker(0)) == [picture(f"{n}.png") for n in range(3)]


def replace_touched(now: Any, before: Any) -> Any:
    """The run as it was begun, with what every pass changes."""
    return replace(before, touched_at=now.touched_at, entities=now.entities, counts=now.counts)


async def test_bytes_are_judged_as_any_upload_is_and_refusals_are_on_record(desk: ImportDesk) -> None:
    manifest = [
        line(0, path=desk.file("0.png", b"this is text")),
        line(1, path=desk.file("1.png", picture(1) + b"\0" * 2**20)),
        line(2, path=desk.file("2.png")),
        line(3, role="sound", path=desk.file("3.png")),
        line(4, workspace="nosuch", path=desk.file("4.png")),
    ]
    told = await desk.run(manifest)
    reasons = {result.source_id: result.reason.code for result in told.results if result.reason is not None}
    assert reasons == {
        "marker:0": "media-type-not-allowed",
        "marker:1": "too-large",
        "marker:3": "policy-unknown",
        "marker:4": "not-found",
    }
    assert told.counts == {"imported": 1, "failed": 4}
    rejected = [event for event in await events_of(desk) if event.type is EventType.REF_REJECTED]
    assert told.run is not None
    assert {event.actor.id for event in rejected} == {f"import:{told.run.id}"}
    assert {(event.entity.id, event.code, event.sha256) for event in rejected} == {
        ("m0", "media-type-not-allowed", hash_of("this is text")),
        ("m1", "too-large", None),
    }
    found = await desk.picture()
    assert (found["objects"], found["refs"], len(found["stored"])) == (1, 1, 1)  # type: ignore[arg-type]


async def test_a_full_quota_fails_rows_and_leaves_nothing_half(desk: ImportDesk) -> None:
    await desk.database.fetch("UPDATE workspaces SET max_items = 2 WHERE slug = 'demo'")
    told = await desk.run(lines(desk, 3, per_entity=3))
    assert told.codes()["quota-exceeded"] == 1
    assert await desk.refs_of(marker(0)) == []


@pytest.mark.parametrize("effort", [Effort.LOOK, Effort.TRY])
async def test_a_dry_run_writes_nothing_and_fetches_only_when_asked(desk: ImportDesk, effort: Effort) -> None:
    manifest = [
        *lines(desk, 4, per_entity=2),
        line(7, path=desk.file("7.png", b"text")),
        line(8, url="https://x.example/", path=None),
    ]
    await desk.attach(marker(0), "image", picture("live"))
    before = await desk.picture()
    told = await desk.run(manifest, effort)
    assert await desk.picture() == before
    assert not list((desk.folder.parent / "store/staging").iterdir())
    if effort is Effort.LOOK:
        assert desk.sources.opened == []
        assert told.counts == {"skipped": 2, "imported": 3, "failed": 1}
    else:
        assert sorted(desk.sources.opened) == ["2.png", "3.png", "7.png"]
        assert told.counts == {"skipped": 2, "imported": 2, "failed": 2}
    assert told.results[-1].reason is not None
    assert "--allow-host" in told.results[-1].reason.detail


async def test_mistakes_of_a_manifest_cost_their_entity_and_no_other(desk: ImportDesk) -> None:
    good = lines(desk, 6, per_entity=2)
    good[0]["source_id"] = good[2]["source_id"] = "twice"
    manifest = [*good, line(6, entity_id="m2", order="x", path="6.png")]
    told = await desk.run([*manifest, {**line(7), "workspace": "NO"}])
    assert told.counts == {"failed": 4, "held-back": 4}
    assert told.codes() == {"same-source-id": 2, "bad-line": 2, "held-back": 4}
    assert [result.line for result in told.results if result.verdict == "failed"] == [2, 4, 8, 9]
    assert told.results[-1].entity is None
    assert (await desk.picture())["refs"] == 0


async def test_a_roll_back_releases_the_run_and_nothing_else(desk: ImportDesk) -> None:
    manifest = lines(desk, 6, per_entity=3)
    other = await desk.attach(EntityKey("demo", "book", "1"), "cover", picture("live"), 0)
    told = await desk.run(manifest)
    dry = await desk.roll_back(told.run, dry_run=True)
    assert sum(len(plan.release) for _, plan in dry) == 6
    assert len(await desk.refs_of(marker(0))) == 3
    done = await desk.roll_back(told.run)
    assert [(entity, len(plan.release), plan.left) for entity, plan in sorted(done, key=str)] == [
        (marker(0), 3, ()),
        (marker(1), 3, ()),
    ]
    assert await desk.refs_of(marker(0)) == await desk.refs_of(marker(1)) == []
    assert other.ref is not None
    assert [id_ for id_, _ in await desk.refs_of(EntityKey("demo", "book", "1"), "cover")] == [
        str(other.ref.ref.ref_id)
    ]
    assert told.run is not None
    found = await desk.imports.find(told.run.id)
    assert (found.state, found.counts) == (RunState.ROLLED_BACK, {"released": 6, "left": 0})


async def test_after_a_roll_back_the_same_manifest_is_imported_anew(desk: ImportDesk) -> None:
    manifest = lines(desk, 3, per_entity=3)
    seen: set[str] = set()
    runs = []
    for _ in range(3):
        told = await desk.run(manifest)
        assert told.counts == {"imported": 3}
        ids = {id_ for id_, _ in await desk.refs_of(marker(0))}
        assert not ids & seen, "an id is never given twice"
        assert await desk.bytes_of(marker(0)) == [picture(f"{n}.png") for n in range(3)]
        seen |= ids
        runs.append(told.run.id if told.run else "")
        await desk.roll_back(told.run)
    assert len({*runs}) == 3


async def test_after_a_roll_back_and_a_purge_it_is_imported_anew_too(desk: ImportDesk) -> None:
    manifest = lines(desk, 1)
    told = await desk.run(manifest)
    await desk.roll_back(told.run)
    await set_clock_ahead(desk.database, timedelta(days=31))
    assert await PurgeDue(desk.ledger.trash)(10) == 1
    again = await desk.run(manifest)
    assert again.counts == {"imported": 1}
    assert again.results[0].ref_id != told.results[0].ref_id


async def test_what_somebody_released_is_not_brought_back_after_its_purge_either(desk: ImportDesk) -> None:
    manifest = lines(desk, 1)
    told = await desk.run(manifest)
    await change(desk, ReleaseRef("demo", told.results[0].ref_id or UUID(int=0), ACTOR))
    await set_clock_ahead(desk.database, timedelta(days=31))
    assert await PurgeDue(desk.ledger.trash)(10) == 1
    assert (await desk.run(manifest)).codes() == {"written-live": 1}
    await desk.database.fetch("DELETE FROM events WHERE entity_id IS NOT NULL")
    assert (await desk.run(manifest)).codes() == {"ended": 1}
    await desk.database.fetch("TRUNCATE entities, refs, tombstones")


async def test_a_roll_back_leaves_what_somebody_touched_and_says_so(desk: ImportDesk) -> None:
    manifest = lines(desk, 4, per_entity=2)
    told = await desk.run(manifest)
    first, _ = await desk.refs_of(marker(0))
    second = (await desk.refs_of(marker(1)))[0]
    await change(desk, Revise("demo", UUID(first[0]), Revision(alt="mine"), ACTOR))
    await change(desk, ReleaseRef("demo", UUID(second[0]), ACTOR))
    plans = dict(await desk.roll_back(told.run))
    assert [(str(leave.ref_id), leave.reason.code) for leave in plans[marker(0)].left] == [(first[0], "touched")]
    assert [(str(leave.ref_id), leave.reason.code) for leave in plans[marker(1)].left] == [(second[0], "gone")]
    assert await desk.refs_of(marker(0)) == [first]
    assert await desk.refs_of(marker(1)) == []
    again = await desk.run(manifest)
    assert again.counts == {"noop": 1, "skipped": 3}


@pytest.mark.parametrize(("times", "left"), [(2, 0), (99, 2)])
async def test_a_roll_back_waits_for_nobody_and_overwrites_nobody(desk: ImportDesk, times: int, left: int) -> None:
    blocks = [
        line(n, entity_type="block", entity_id="1", order=n, role="image", path=desk.file(f"{n}.png")) for n in range(2)
    ]
    told = await desk.run(blocks)
    desk.imports = Busy(desk, times)
    [(_, plan)] = await desk.roll_back(told.run)
    assert (len(plan.release), len(plan.left)) == (2 - left, left)
    assert {leave.reason.code for leave in plan.left} <= {"busy"}


async def test_a_run_that_was_cut_short_goes_on_and_is_rolled_back_whole(desk: ImportDesk) -> None:
    manifest = lines(desk, 40, per_entity=2)

    async def cut(text: str) -> None:
        if text == "19.png":  # of m9, the last entity: when its turn comes, most others are done
            raise Unavailable("The database does not answer.")

    desk.sources.before, desk.delays = cut, ()
    with pytest.raises(Unavailable):
        await desk.run(manifest)
    [run] = await desk.imports.runs(10)
    assert run.state is RunState.RUNNING
    done = (await desk.picture())["refs"]
    assert isinstance(done, int)
    assert 0 < done < 40
    assert done % 2 == 0
    desk.sources.before = None
    told = await desk.run(manifest)
    assert told.counts == {"noop": done, "imported": 40 - done}
    assert told.run is not None
    assert told.run.id == run.id
    plans = await desk.roll_back(told.run)
    assert sum(len(plan.release) for _, plan in plans) == 40


class Interrupted:
    """A database in which something happens between what a story reads of refs and what it reads of the log."""

    def __init__(self, database: Database, happens: Callable[[], Awaitable[None]]) -> None:
        self._inner: Any = database
        self._happens: Callable[[], Awaitable[None]] | None = happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        async with self._inner.connection() as connection:
            yield InterruptedConnection(connection, self._happen)

    @asynccontextmanager
    async def locked(self, locks: Sequence[int]) -> AsyncIterator[Any]:
        async with self._inner.locked(locks) as connection:
            yield InterruptedConnection(connection, self._happen)

    async def _happen(self) -> None:
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()


class InterruptedConnection:
    """See there."""

    def __init__(self, connection: Any, happen: Callable[[], Awaitable[None]]) -> None:
        self._inner, self._happen = connection, happen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def fetch(self, query: str, *parameters: object) -> Any:
        if "FROM events" in query:
            await self._happen()
        return await self._inner.fetch(query, *parameters)


async def test_two_roll_backs_at_once_leave_nothing_and_say_so(desk: ImportDesk) -> None:
    told = await desk.run(lines(desk, 3, per_entity=3))
    imports, others = desk.imports, []

    async def other() -> None:
        desk.imports = imports
        others.extend(await desk.roll_back(told.run))

    desk.imports = PostgresImports(cast("Database", Interrupted(desk.database, other)))
    plans = [plan for _, plan in await desk.roll_back(told.run)] + [plan for _, plan in others]
    assert [plan.left for plan in plans] == [(), ()]
    assert await desk.refs_of(marker(0)) == []
    assert [event.type for event in await events_of(desk)].count(EventType.REF_RELEASED) == 3


@pytest.mark.parametrize("anew", [False, True])
async def test_a_run_that_is_rolled_back_meanwhile_stays_rolled_back_and_says_so(desk: ImportDesk, anew: bool) -> None:
    manifest = lines(desk, 4)
    others: list[Told] = []

    async def roll_back(text: str) -> None:
        desk.sources.before = None
        [run] = await desk.imports.runs(10)
        await desk.roll_back(run)
        if anew:
            others.append(await desk.run(manifest))

    desk.sources.before, desk.jobs = roll_back, 1
    with pytest.raises(ImportRolledBack, match=r"was rolled back meanwhile\."):
        await desk.run(manifest)
    first = (await desk.imports.runs(10))[-1]
    assert (first.state, first.counts) == (RunState.ROLLED_BACK, {"released": 0, "left": 0})
    assert [other.counts for other in others] == [{"imported": 4}] * anew
    assert [run.state for run in await desk.imports.runs(10)] == [RunState.DONE] * anew + [RunState.ROLLED_BACK]
    await desk.roll_back(first)
    assert sum([len(await desk.refs_of(marker(n))) for n in range(4)]) == 4 * anew


async def test_a_run_that_was_rolled_back_goes_to_no_further_entities(desk: ImportDesk) -> None:
    run = await desk.imports.begin("0" * 64, "manifest.csv")
    await desk.imports.announce(run.id, [marker(0)])
    await desk.imports.finish(run.id, RunState.ROLLED_BACK, {})
    with pytest.raises(ImportRolledBack):
        await desk.imports.announce(run.id, [marker(1)])


async def test_what_may_pass_is_tried_again_and_what_may_not_is_not(desk: ImportDesk) -> None:
    attempts: list[str] = []

    async def stumble(text: str) -> None:
        attempts.append(text)
        if text == "0.png" and attempts.count(text) < 3:
            raise SourceFailed("The host answers 503.", may_pass=True)
        if text == "1.png":
            raise SourceFailed("The host answers 404.")
        if text == "2.png":
            raise SourceFailed("The host answers 503.", may_pass=True)

    desk.sources.before = stumble
    told = await desk.run(lines(desk, 3))
    assert told.outcomes() == {"marker:0": "imported", "marker:1": "failed", "marker:2": "failed"}
    assert [attempts.count(f"{n}.png") for n in range(3)] == [3, 1, 4]


async def test_no_more_sources_are_open_at_once_than_asked_for(desk: ImportDesk) -> None:
    async def linger(_: str) -> None:
        for _turn in range(20):
            await asyncio.sleep(0)

    desk.sources.before = linger
    told = await desk.run([*lines(desk, 30, per_entity=15)])
    assert (told.counts, desk.sources.most) == ({"imported": 30}, desk.jobs)


class LosesHolding:
    """A ref ledger to which a batch comes when its bytes are gone."""

    def __init__(self, desk: ImportDesk) -> None:
        self._desk, self._inner = desk, desk.refs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def change_all(self, *arguments: Any) -> Any:
        [row] = await self._desk.database.fetch("SELECT sha256 FROM blobs ORDER BY id LIMIT 1")
        await self._desk.ledger.blobs.release("demo", Sha256(row["sha256"].hex()), ACTOR)
        return await self._inner.change_all(*arguments)


async def test_what_the_ledger_refuses_at_last_is_a_failed_row_and_nothing_is_attached(desk: ImportDesk) -> None:
    desk.refs, desk.jobs = LosesHolding(desk), 1
    told = await desk.run(lines(desk, 3, per_entity=3))
    assert sorted(result.verdict for result in told.results) == ["failed", "held-back", "held-back"]
    assert told.codes() == {"blob-not-held": 1, "held-back": 2}
    assert await desk.refs_of(marker(0)) == []


async def test_two_that_begin_the_same_manifest_at_once_get_one_run_and_import_once(desk: ImportDesk) -> None:
    manifest = lines(desk, 20, per_entity=2)
    one, other = await asyncio.gather(desk.run(manifest), desk.run(manifest))
    assert one.run is not None
    assert other.run is not None
    assert one.run.id == other.run.id
    assert one.counts.get("imported", 0) + other.counts.get("imported", 0) == 20
    assert (await desk.picture())["refs"] == 20


async def test_a_fault_of_what_feeds_the_work_ends_it(anyio_backend: str) -> None:
    done = []

    async def things() -> AsyncIterator[int]:
        yield 1
        raise Unavailable("not now")

    async def work(thing: int) -> None:
        done.append(thing)

    with pytest.raises(Unavailable):
        await side_by_side(things(), 2, work)
    assert done in ([], [1])


def test_nothing_is_reachable_but_the_internet_unless_a_test_says_so() -> None:
    assert not WebSource().reachable("127.0.0.1")
