"""Stories of callers, operators, collectors, a clock and a store that fails, with processes that die in the middle.

Every answer must be the model's, and so must every table after every step. What runs at the same time must have had the
effect of one after the other.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from service.adapters.vips.renderer import ENGINE
from service.application.changes import Command
from service.application.findings import Kind
from service.domain.blob import Sha256
from service.domain.decision import Attach
from service.domain.errors import StorageUnavailable
from service.domain.hold import HoldKind
from service.domain.lifecycle import Revision
from service.domain.policy import Visibility
from service.domain.ref import Labels
from service.domain.rendition import Preset
from service.ports.feed import EventFilter
from service.schemas.cursor import Cursor
from tests.machine import calls
from tests.machine.calls import Call, plain
from tests.machine.ground import SLUGS, Ground
from tests.machine.model import DAY, HOUR, MINUTE, Gist, Model
from tests.machine.picture import Picture
from tests.parts.faulty_store import Fate
from tests.parts.ledgers import (
    attach,
    book,
    purge,
    release,
    release_all,
    release_ref,
    reorder,
    restore,
    revise,
)
from tests.parts.lives import (
    AFTER_COMMIT,
    AFTER_CONDEMN,
    AFTER_DELETE,
    AFTER_LOAD,
    AFTER_LOCKS,
    AFTER_PUT,
    AFTER_RESERVE,
    BEFORE_COMMIT,
    BEFORE_DELETE,
    BEFORE_PUT,
    DEFINED,
    UNDEFINED,
    Crashed,
    Life,
    Points,
)

CONTENTS = [f"content {number} of the story".encode() for number in range(4)]
RENDERED = {calls.name_of(calls.rendered(preset)) for preset in (DEFINED, UNDEFINED)}
THOROUGH_EVERY = 20
_ORDER = {"pending": 0, "live": 1, "condemned": 2}
_ALL = EventFilter()

slugs = st.sampled_from([SLUGS[0], SLUGS[0], SLUGS[1]])
contents = st.sampled_from(CONTENTS)
presets = st.sampled_from([DEFINED, DEFINED, UNDEFINED])
keys = st.sampled_from([None, None, None, None, None, "new", "new", "old"])
put_fates = st.sampled_from([*[Fate.FINE] * 8, *Fate])
delete_fates = st.sampled_from([[]] * 4 + [[fate] for fate in Fate] + [[Fate.LATE, Fate.REFUSED], [Fate.TWICE] * 3])
upload_crashes = st.sampled_from(
    [*[None] * 12, AFTER_RESERVE, BEFORE_PUT, AFTER_PUT, AFTER_LOAD, BEFORE_COMMIT, AFTER_COMMIT]
)
change_crashes = st.sampled_from([*[None] * 12, AFTER_LOAD, BEFORE_COMMIT, AFTER_COMMIT])
collect_crashes = st.sampled_from(
    [*[None] * 9, BEFORE_COMMIT, AFTER_COMMIT, AFTER_LOAD, AFTER_CONDEMN, BEFORE_DELETE, AFTER_DELETE]
)
_KINDS = ["put", "put", "append", "append", "append", "insert", "release slot", "release ref", "release ref", "restore"]
_KINDS += ["restore", "restore instead", "purge", "purge", "revise", "reorder", "release role", "release entity"]
asked = st.tuples(
    st.sampled_from(_KINDS),
    st.sampled_from(["1", "1", "2"]),
    st.sampled_from(["pages", "pages", "pages", "cover", "cover", "cover", "cover", "unknown"]),
    st.integers(0, 9),
    st.sampled_from([0, 0, 0, 1, 2, 9]),
    st.sampled_from([0, 0, 0, 0, 0, None, 1]),
    st.integers(0, 7),
)
"""Kind, book, role, which content (mostly one that the workspace holds), position, how far behind the version is that
the caller saw (None: it says nothing), which ref."""
at_once = st.sampled_from(["change", "change", "change", "upload", "upload", "render", "collect"]).flatmap(
    lambda kind: {
        "change": st.tuples(st.just(kind), slugs, asked, keys),
        "upload": st.tuples(st.just(kind), slugs, contents, keys),
        "render": st.tuples(st.just(kind), slugs, st.integers(0, 9), presets),
        "collect": st.tuples(st.just(kind)),
    }[kind]
)
times = st.sampled_from([MINUTE, HOUR, 13 * HOUR, DAY + HOUR, DAY + HOUR, 8 * DAY, 8 * DAY, 31 * DAY, 91 * DAY])
meetings = st.sampled_from([AFTER_LOCKS, AFTER_LOAD, BEFORE_COMMIT])
waits = st.sampled_from([0, 0, 8 * DAY])
_HOLDING = ["give up", "give up", "grant", "ask"]
_OPERATION = ["quarantine", "legal", "lift", "lift", "lift", "limit", "free", "free"]
_ACTS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "upload": (6, (slugs, contents, keys, put_fates, upload_crashes)),
    "change": (16, (slugs, asked, keys, change_crashes)),
    "batch": (4, (slugs, st.lists(asked, min_size=1, max_size=3), keys, change_crashes)),
    "render": (3, (slugs, st.integers(0, 9), presets, put_fates, upload_crashes)),
    "keep_or_give_up": (4, (slugs, contents, st.sampled_from(_HOLDING), keys)),
    "operate": (3, (slugs, contents, st.sampled_from(_OPERATION))),
    "send_again": (2, (st.integers(0, 9),)),
    "read_the_feed": (2, (slugs, st.integers(0, 1), st.sampled_from([1, 2, 5, 100]))),
    "collect": (5, (delete_fates, st.sampled_from([False] * 7 + [True]), collect_crashes)),
    "repair": (1, ()),
    "wait": (5, (times,)),
    "land": (2, (st.integers(0, 5),)),
    "begin_upload": (2, (slugs, contents, st.sampled_from([AFTER_RESERVE, AFTER_PUT, AFTER_PUT]))),
    "begin_round": (2, (st.sampled_from([AFTER_COMMIT, AFTER_CONDEMN, BEFORE_DELETE, BEFORE_DELETE, AFTER_DELETE]),)),
    "go_on": (3, (st.integers(0, 2),)),
    "at_the_same_time": (8, (at_once, meetings, at_once, st.booleans(), waits)),
}
"""How often each comes, and what it is drawn from. One rule draws them all: a rule for each would be left out of half
of the stories, and it takes many kinds together to lose anything."""
acts = st.sampled_from([name for name, (weight, _) in _ACTS.items() for _ in range(weight)]).flatmap(
    lambda name: st.tuples(st.just(name), *_ACTS[name][1])
)


@dataclass
class Suspended:
    """A process that waits in the middle of something; of an upload the key of its object, None for a collector."""

    life: Life
    task: asyncio.Task[Any]
    key: str | None = None
    slug: str = ""
    content: bytes = b""


class Story(RuleBasedStateMachine):
    """Subclass it with a `ground`."""

    ground: ClassVar[Ground]

    def __init__(self) -> None:
        super().__init__()
        self.failed = False
        self.numbers = count(1)
        self.steps = self.keys = 0
        self.made: list[UUID] = []
        self.sent: list[Callable[[], Call]] = []
        self.suspended: list[Suspended] = []
        self.history: dict[str, str] = {}
        self.verified: set[str] = set()
        self.first_answers: dict[bytes, bytes] = {}
        self.readers: dict[tuple[str, int], tuple[str | None, list[str]]] = {}
        self.ground.run(self.ground.begin())
        self.life = self.ground.life()
        self.picture: Picture = self.ground.run(self.ground.look())
        self.model = Model(self.picture.now, dict.fromkeys(SLUGS), frozenset({DEFINED.definition(ENGINE)}))
        for content in CONTENTS[:2]:
            self.tell("begin", self.called(calls.upload(SLUGS[0], content, None, Fate.FINE)))

    # --- what happens -----------------------------------------------------------------------------------------------

    @rule(act=acts)
    def step(self, act: tuple[Any, ...]) -> None:
        name, *drawn = act
        getattr(self, name)(*drawn)

    def upload(self, slug: str, content: bytes, key: str | None, fate: Fate, crash: str | None) -> None:
        self.ground.store.fates = deque([fate])
        name = self.key_of(key)
        self.tell("upload", self.called(calls.upload(slug, content, name, fate), crash))
        if key is not None:
            self.sent.append(lambda: calls.upload(slug, content, name, Fate.FINE))

    def change(self, slug: str, wanted: Any, key: str | None, crash: str | None) -> None:
        command, name = self.command(slug, wanted), self.key_of(key)
        self.tell("change", self.called(calls.change(slug, command, name), crash))
        if key is not None:
            self.sent.append(lambda: calls.change(slug, self.anew(command), name))

    def batch(self, slug: str, wanted: list[Any], key: str | None, crash: str | None) -> None:
        commands, name = [self.command(slug, each) for each in wanted], self.key_of(key)
        self.tell("batch", self.called(calls.batch(slug, commands, name), crash))
        if key is not None:
            self.sent.append(lambda: calls.batch(slug, [self.anew(command) for command in commands], name))

    def render(self, slug: str, which: int, preset: Preset, fate: Fate, crash: str | None) -> None:
        self.ground.store.fates = deque([fate])
        self.tell("render", self.called(calls.render(slug, self.some_bytes(slug, which), preset, fate), crash))

    def keep_or_give_up(self, slug: str, content: bytes, what: str, key: str | None) -> None:
        made = {
            "give up": lambda: calls.give_up(slug, content, self.key_of(key)),
            "grant": lambda: calls.grant(slug, content),
            "ask": lambda: calls.ask(slug, [content, CONTENTS[0]]),
        }
        self.tell(what, self.called(made[what]()))

    def operate(self, slug: str, content: bytes, what: str) -> None:
        made = {
            "lift": lambda: calls.lift(content),
            "limit": lambda: calls.limit(slug, 2),
            "free": lambda: calls.limit(slug, None),
        }
        call = made.get(what, lambda: calls.place(content, HoldKind(what)))()
        self.tell(what, self.called(call))

    def send_again(self, which: int) -> None:
        if self.sent:
            self.tell("send again", self.called(self.sent[-1 - which % len(self.sent)]()))

    def read_the_feed(self, slug: str, reader: int, limit: int) -> None:
        self.tell("read", self.read(slug, reader, limit))

    def collect(self, fates: list[Fate], refused: bool, crash: str | None) -> None:
        self.ground.store.fates, self.ground.store.note_refused = deque(fates), refused
        self.tell("collect", self.collected(crash))

    def repair(self) -> None:
        self.tell("repair", self.repaired())

    def wait(self, by: int) -> None:
        self.tell("wait", self.waited(by))

    def land(self, which: int) -> None:
        stragglers = self.ground.store.stragglers
        if stragglers:
            self.tell("land", self.ground.store.land(stragglers[which % len(stragglers)]))

    def begin_upload(self, slug: str, content: bytes, at: str) -> None:
        if len(self.suspended) < 3:
            self.tell("begin upload", self.begun_upload(slug, content, at))

    def begin_round(self, at: str) -> None:
        if len(self.suspended) < 3:
            self.tell("begin round", self.begun_round(at))

    def go_on(self, which: int) -> None:
        if self.suspended:
            self.tell("go on", self.gone_on(self.suspended.pop(which % len(self.suspended))))

    def at_the_same_time(self, first: Any, at: str, second: Any, read: bool, by: int) -> None:
        if by:
            self.tell("wait", self.waited(by))
        self.tell("overlap", self.overlapped(first, at, second, read))

    # --- how it is done and judged ----------------------------------------------------------------------------------

    def tell(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """One step, and all that must hold after it."""
        if self.failed:
            work.close()
            return
        self.steps += 1
        self.ground.stories[what] += 1
        try:
            self.ground.run(self.checked(work))
        except BaseException:
            self.failed = True
            raise
        finally:
            self.ground.store.fates, self.ground.store.note_refused = deque(), False

    async def checked(self, work: Awaitable[None]) -> None:
        await work
        await self.check_copies()
        if self.steps % THOROUGH_EVERY == 0:
            await self.check_thoroughly()

    async def called(self, call: Call, crash: str | None = None) -> None:
        """Make a call, whose process may die on the way; then it has happened whole, or not at all."""
        before, expected = self.model.copy(), call.expect(self.model)
        life = self.life if crash is None else self.ground.life(Points(crash))
        try:
            gist, answer = await call.answer(life)
            self.check_answer(call, gist, expected, answer)
        except Crashed:
            if crash != AFTER_COMMIT:
                self.model = before
                call.remains(self.model)
        await self.settle([self.model])

    def check_answer(self, call: Call, gist: Gist, expected: Gist, answer: object) -> None:
        assert gist == plain(expected), f"{call.name} was answered {gist}, not {plain(expected)}: {answer!r}"

    async def read(self, slug: str, reader: int, limit: int) -> None:
        """A page of the feed, by a reader with a cursor of its own."""
        after, seen = self.readers.get((slug, reader), (None, []))
        page = await self.life.use.list_events(slug, after, limit, _ALL)
        seen = [*seen, *(event.cursor for event in page.events)]
        self.readers[slug, reader] = page.next_cursor, seen
        places = [Cursor.parse(cursor) for cursor in seen]
        assert places == sorted(set(places)), "the feed repeats itself"

    async def collected(self, crash: str | None) -> None:
        """A round; what it must end is known, unless it dies or its store fails it."""
        life = self.ground.life(Points(crash or ""))
        note_refused = self.ground.store.note_refused
        self.model.sweep()
        try:
            await life.collect()
        except Crashed:
            await self.settle([self.model], partly=True)
            return
        except StorageUnavailable:
            if not note_refused:
                self.end_due()
            await self.settle([self.model])
            return
        assert not note_refused, "nothing may be collected without a look at the sentinel"
        self.end_due()
        await self.settle([self.model])
        blobs, shown = {*self.picture.blobs}, self.model.shown()
        assert blobs - RENDERED == self.model.blobs, "bytes that nobody holds, or none where somebody does"
        assert shown <= blobs, "renditions without bytes"
        left = [copy for copy in self.picture.objects.values() if copy.is_due or copy.is_abandoned]
        assert [copy for copy in left if copy.sha256 not in self.model.holds] == [], "a round leaves what was due"

    async def repaired(self) -> None:
        """I16: `fsck` and `scrub` find all well; late bytes, which nobody can know of, are all that is removed."""
        checked, scrubbed = await self.ground.repair()
        assert {finding.key for finding in checked.told} <= self.ground.store.strays
        assert {*checked.counts} <= {Kind.GARBAGE}
        assert (checked.is_well, scrubbed.is_well, scrubbed.told) == (True, True, [])
        await self.settle([self.model])

    def end_due(self) -> None:
        """What a whole round ends."""
        self.model.purge_due()
        self.model.drop_stale()
        self.model.release_due()
        self.model.drop_barren()

    async def waited(self, by: int) -> None:
        await self.settle([self.model], by)

    async def begun_upload(self, slug: str, content: bytes, at: str) -> None:
        """An upload that comes as far as `at` and waits there, unless its workspace holds the bytes."""
        known = {*self.picture.objects}
        life = self.ground.life(Points(at, ends=False))
        call = calls.upload(slug, content, None, Fate.FINE)
        task = asyncio.create_task(call.answer(life))
        if await self.done_before_waiting(life, task):
            gist, answer = await task
            self.check_answer(call, gist, call.expect(self.model), answer)
            await self.settle([self.model])
            return
        await self.settle([self.model])
        [key] = {*self.picture.objects} - known
        self.suspended.append(Suspended(life, task, key, slug, content))

    async def begun_round(self, at: str) -> None:
        """A round that comes as far as `at` and waits there."""
        life = self.ground.life(Points(at, ends=False))
        self.model.sweep()
        task = asyncio.create_task(life.collect())
        if await self.done_before_waiting(life, task):
            await task
            self.end_due()
            await self.settle([self.model])
            return
        await self.settle([self.model], partly=True)
        self.suspended.append(Suspended(life, task))

    async def done_before_waiting(self, life: Life, task: asyncio.Task[Any]) -> bool:
        waiting = asyncio.create_task(life.points.waits.wait())
        done, _ = await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return task in done

    async def gone_on(self, suspended: Suspended) -> None:
        """What waited comes to its end: a publication only if its object is still as it was reserved."""
        suspended.life.points.may_go_on.set()
        if suspended.key is None:
            await suspended.task
            await self.settle([self.model], partly=True)
            return
        copy = self.picture.objects.get(suspended.key)
        gist, answer = await suspended.task
        if copy is not None and copy.state == "pending":
            expected = self.model.publish(suspended.slug, calls.name_of(suspended.content), None)
        else:
            expected = ("refused", "unavailable")
            self.ground.store.strays.add(suspended.key)
        assert gist == expected, f"a late publication was answered {gist}, not {expected}: {answer!r}"
        await self.settle([self.model])

    async def overlapped(self, first: Any, at: str, second: Any, read: bool) -> None:
        """The second begins when the first has come to `at`, with its locks and its place in the log."""
        life = self.ground.life(Points(at, ends=False))
        one, two = self.act(first), self.act(meeting(first, second))
        running = asyncio.create_task(self.performed(one, life))
        if await self.done_before_waiting(life, running):
            following = asyncio.create_task(self.performed(two, self.ground.life()))
        else:
            following = asyncio.create_task(self.performed(two, self.ground.life()))
            await self.ground.done_or_waiting(following)
            if read:
                for slug in SLUGS:
                    await self.read(slug, 0, 100)
            life.points.may_go_on.set()
        gists = await running, await following
        models = [*self.orders((one, two), gists)]
        assert models, f"no order of {name_of(one)} and {name_of(two)} explains {gists}"
        await self.settle(models, partly=one is None or two is None)

    def act(self, act: Any) -> Call | None:
        match act:
            case ("change", slug, wanted, key):
                return calls.change(slug, self.command(slug, wanted), self.key_of(key))
            case ("render", slug, which, preset):
                return calls.render(slug, self.some_bytes(slug, which), preset, Fate.FINE)
            case ("upload", slug, content, key):
                return calls.upload(slug, content, self.key_of(key), Fate.FINE)
            case _:
                return None

    async def performed(self, call: Call | None, life: Life) -> Gist:
        if call is None:
            await life.collect()
            return ()
        return (await call.answer(life))[0]

    def orders(self, made: tuple[Call | None, Call | None], gists: tuple[Gist, Gist]) -> Iterable[Model]:
        """The model after each order of the two that explains both answers; a round may be at any stage meanwhile."""
        steps = [*zip(made, gists, strict=True)]
        stages: list[list[Callable[[Model], None]]] = [[]]
        if None in made:
            stages = [
                [],
                [Model.sweep],
                [Model.sweep, Model.purge_due],
                [Model.sweep, Model.purge_due, Model.drop_stale],
                [Model.sweep, Model.purge_due, Model.drop_stale, Model.release_due],
            ]
        for order in (steps, steps[::-1]):
            for stage in stages:
                model = self.model.copy()
                for ended in stage:
                    ended(model)
                answers = [gist == plain(call.expect(model)) for call, gist in order if call is not None]
                if all(answers):
                    if None in made:
                        model.sweep()
                    yield model

    async def settle(self, models: list[Model], by: int = 1, *, partly: bool = False) -> None:
        """The tables must be as one of the models says; `partly`: what was due may have ended."""
        self.picture = await self.ground.look(by)
        tables = self.picture.tables
        for model in models:
            if partly:
                model.end_some({*tables["refs"]}, {*tables["holdings"]}, {*tables["renditions"]})
                model.blobs &= {*self.picture.blobs}
            if model.picture() == tables:
                self.model = model
                self.model.now = self.picture.now
                return
        expected = models[0].picture()
        wrong = {name: (told, expected[name]) for name, told in tables.items() if told != expected[name]}
        raise AssertionError(f"the tables, and what they should be: {wrong}")

    async def check_copies(self) -> None:
        """I1, I2, I3, I9: the physical side, as of the last look."""
        found = self.picture
        live = [copy for copy in found.objects.values() if copy.state == "live"]
        assert len({copy.sha256 for copy in live}) == len(live), "two live objects of one hash"
        assert sorted(found.blobs.values()) == sorted((copy.key, "live") for copy in live), "live objects and blobs"
        assert {content for _, content in found.tables["holdings"]} <= {*found.blobs}
        assert [use for use in found.bytes if use[1] != use[2]] == []
        for key, known in self.history.items():
            state = found.objects[key].state if key in found.objects else "gone"
            assert state == "gone" or (known != "gone" and _ORDER[known] <= _ORDER[state]), f"{key}: {known}, {state}"
        self.history = {**dict.fromkeys(self.history, "gone"), **{k: copy.state for k, copy in found.objects.items()}}
        self.verified -= self.ground.store.touched
        self.ground.store.touched.clear()
        for copy in live:
            if copy.key not in self.verified:
                await self.ground.verify(copy.key, copy.sha256)
                self.verified.add(copy.key)

    async def check_thoroughly(self) -> None:
        """I1, I7, I8, I13, I14: the whole log, the whole store."""
        assert await self.ground.flaws() == []
        stored, known = await self.ground.stored(), {*self.picture.objects}
        assert {key for key, _ in self.picture.blobs.values()} <= stored
        assert stored - known <= self.ground.store.strays, "bytes without a row that nobody put late"
        for slug in SLUGS:
            await self.check_log(slug)

    async def check_log(self, slug: str) -> None:
        rows = await self.ground.log(slug)
        told = [str(Cursor(row["epoch"], row["txid"], row["seq"])) for row in rows]
        for (owner, _), (_, seen) in self.readers.items():
            assert owner != slug or seen == told[: len(seen)], "the feed has a gap"
        entities = [
            json.loads(row["data"])["entity"] for row in rows if row["decision"] != "reject" and row["entity_id"]
        ]
        for number in {entity["id"] for entity in entities}:
            versions = [entity["version"] for entity in entities if entity["id"] == number]
            assert versions == list(range(1, len(versions) + 1)), "the feed tells versions in another order"

    async def end(self) -> None:
        """I15: whatever is late arrives, holds end, time goes by, collectors rest; then nothing is left over."""
        for suspended in self.suspended:
            await self.gone_on(suspended)
        for straggler in [*self.ground.store.stragglers]:
            await self.ground.store.land(straggler)
        for content in [content for content in CONTENTS if calls.name_of(content) in self.model.holds]:
            await self.called(calls.lift(content))
        for _ in range(3):
            await self.waited(100 * DAY)
            await self.collected(None)
        await self.check_copies()
        assert {copy.state for copy in self.picture.objects.values()} <= {"live"}
        assert {content for _, content in self.model.holdings} | self.model.shown() == {*self.picture.blobs}
        assert {*self.model.holdings} == {(ref.entity[0], ref.content) for ref in self.model.refs.values()}
        queued = await self.ground.behind.fetch("SELECT FROM holding_reviews UNION ALL SELECT FROM blob_reviews")
        assert queued == []
        await self.repaired()
        assert await self.ground.stored() == {*self.picture.objects}
        await self.check_thoroughly()
        for slug in SLUGS:
            await self.read_to_the_end(slug)

    async def read_to_the_end(self, slug: str) -> None:
        told = [str(Cursor(row["epoch"], row["txid"], row["seq"])) for row in await self.ground.log(slug)]
        for reader in range(2):
            async with asyncio.timeout(10):
                while self.readers.get((slug, reader), (None, []))[1] != told:
                    await self.read(slug, reader, 100)

    def teardown(self) -> None:
        if not self.failed:
            self.ground.run(self.end())
        for suspended in self.suspended:
            suspended.task.cancel()

    def command(self, slug: str, wanted: Any) -> Command:
        """The command of a draw, as somebody sends it who knows the entity's version, or knew it."""
        kind, number, role, content, place, behind, which = wanted
        entity, sha256 = book(slug, int(number)), self.some_content(slug, content)
        version = None if behind is None else max(0, self.model.versions.get((slug, number), 0) - behind)
        by_slot: dict[str, Callable[[], Command]] = {
            "put": lambda: attach(
                entity, role, sha256, place, version=version, ref_id=self.new_id(), **self.words(which)
            ),
            "append": lambda: attach(entity, role, sha256, ref_id=self.new_id()),
            "insert": lambda: attach(entity, role, sha256, place, shift=True, version=version, ref_id=self.new_id()),
            "release slot": lambda: release(entity, role, place, version),
            "release role": lambda: release_all(entity, role, version),
            "release entity": lambda: release_all(entity, None, version),
            "reorder": lambda: reorder(entity, role, self.another_order(slug, number, role, which), version),
        }
        return by_slot[kind]() if kind in by_slot else self.command_by_id(slug, kind, which, behind)

    def command_by_id(self, slug: str, kind: str, which: int, behind: int | None) -> Command:
        there = [ref_id for ref_id, ref in self.model.refs.items() if which < 7 and ref.entity[0] == slug] or self.made
        if not there:
            return attach(book(slug, 1), "pages", self.some_content(slug, which), ref_id=self.new_id())
        ref_id = there[-1 - which % len(there)]
        ref = self.model.refs.get(ref_id)
        entity = None if ref is None or behind is None else ref.entity
        version = None if entity is None else max(0, self.model.versions.get(entity, 0) - (behind or 0))
        by_id: dict[str, Callable[[], Command]] = {
            "release ref": lambda: release_ref(slug, ref_id, version),
            "restore": lambda: restore(slug, ref_id, version=version),
            "restore instead": lambda: restore(slug, ref_id, replaces=True, version=version),
            "purge": lambda: purge(slug, ref_id, version),
            "revise": lambda: revise(slug, ref_id, Revision(alt=f"words {which % 3}"), version),
        }
        return by_id[kind]()

    def some_content(self, slug: str, which: int) -> Sha256:
        held = sorted(content for owner, content in self.model.holdings if owner == slug and which < 8)
        return Sha256(held[which % len(held)]) if held else calls.name_of(CONTENTS[which % len(CONTENTS)])

    def some_bytes(self, slug: str, which: int) -> bytes:
        name = self.some_content(slug, which)
        return next(content for content in CONTENTS if calls.name_of(content) == name)

    def key_of(self, key: str | None) -> str | None:
        if key == "new":
            self.keys += 1
        return None if key is None else f"key {self.keys}"

    def words(self, which: int) -> dict[str, Any]:
        visibility = [None, Visibility.PRIVATE, Visibility.PUBLIC][which % 3]
        return {"labels": Labels(alt=f"words {which}" if which % 2 else None), "visibility": visibility}

    def another_order(self, slug: str, number: str, role: str, which: int) -> list[UUID]:
        ids = [*self.model.live.get(((slug, number), role), [])]
        return ids[which % 3 :] + ids[: which % 3] if which else ids[1:]

    def anew(self, command: Command) -> Command:
        """The command of the same request when it is sent again: the service makes another id."""
        return replace(command, ref_id=self.new_id()) if isinstance(command, Attach) else command

    def new_id(self) -> UUID:
        ref_id = UUID(int=(7 << 76) + (2 << 62) + next(self.numbers))
        self.made.append(ref_id)
        return ref_id


def meeting(first: Any, second: Any) -> Any:
    """The second act, about the same book where both are about one: elsewhere they would not meet.

    Of two who make one rendition the second waits for longer than a test does.
    """
    match first, second:
        case ("render", *_), ("render", slug, which, _):
            return "upload", slug, CONTENTS[which % len(CONTENTS)], None
        case ("change", slug, (_, number, *_), _), ("change", _, (kind, _, *rest), key):
            return "change", slug, (kind, number, *rest), key
        case _:
            return second


def name_of(call: Call | None) -> str:
    """For a person."""
    return "a round" if call is None else call.name
