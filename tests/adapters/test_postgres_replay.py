"""Whatever is done, in whatever order: folding the log makes the tables, and the memory ledger has become the same."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from service.adapters.memory.database import MemoryDatabase
from service.adapters.postgres.database import Database
from service.adapters.postgres.opening import open_database
from service.application.changes import Command
from service.domain.blob import MediaInfo, Sha256
from service.domain.decision import Attach
from service.domain.errors import RefkeepError
from service.domain.event import BlobEvent, Event, HoldEvent, HoldingEvent, RefEvent
from service.domain.holding_decision import HoldingState, decide_grant, decide_renewal
from service.domain.policy import Visibility
from service.domain.ref import Labels
from service.domain.slot import EntityKey
from service.ports.blobs import BlobOutcome, Published
from service.ports.refs import EntityRefs, RefOutcome
from tests.parts.audit import ledger_flaws
from tests.parts.ledgers import (
    ACTOR,
    LEASE,
    attach,
    blob_claim_on,
    book,
    claim_on,
    hash_of,
    memory_ledger,
    postgres_ledger,
    release,
    set_clock_ahead,
)

WORKSPACES = ["one", "two"]
HELD_AT_FIRST, MAX_ITEMS = range(3), 4

# What mostly succeeds is asked for mostly: refusals change nothing.
workspaces = st.sampled_from(["one", "one", "one", "one", "two"])
contents = st.sampled_from([*HELD_AT_FIRST, *HELD_AT_FIRST, 3, 4])
keys = st.sampled_from([*[None] * 8, "a key", "another key"])
entities = st.sampled_from([1, 1, 1, 1, 2])
roles = st.sampled_from([*["pages"] * 5, "cover", "cover", "unknown"])
positions = st.sampled_from([0, 0, 0, 1, 1, 2, 3, None, 8])
labels = st.builds(Labels, *[st.sampled_from([None, None, "", "some text", "naïve 🐈"])] * 3)
visibilities = st.sampled_from([None, None, *Visibility])
staleness = st.sampled_from([*[0] * 8, None, 1])
"""How far behind the version is that the caller saw; None: it says nothing."""

_machines = count(1)


class LedgerMachine(RuleBasedStateMachine):
    """The same calls on both ledgers; they must answer alike, and in the end Postgres must agree with its log."""

    dsn = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.database: Database = self.run(open_database({"dsn": self.dsn}, 1))
        self.memory_database = MemoryDatabase()
        self.ledgers = postgres_ledger(self.database), memory_ledger(self.memory_database)
        self.prefix = f"machine-{next(_machines)}"
        for name in WORKSPACES:
            self.on_both(lambda ledger, slug=name: ledger.workspaces.put(self.slug(slug), None, MAX_ITEMS))
            for content in HELD_AT_FIRST:
                self.hold(name, content)
                self.change(attach(book(self.slug(name), 1), "pages", self.hash(content)), None)

    def teardown(self) -> None:
        flaws = self.run(ledger_flaws(self.database))
        self.run(set_clock_ahead(self.database, timedelta()))
        self.run(self.database.aclose())
        self.runner.close()
        assert flaws == []

    @rule(workspace=workspaces, content=contents, key=keys)
    def upload(self, workspace: str, content: int, key: str | None) -> None:
        self.hold(workspace, content, key)

    @rule(workspace=workspaces, content=contents, what=st.sampled_from(["give up", "renew", "ask", "grant", "wait"]))
    def keep_or_give_up(self, workspace: str, content: int, what: str) -> None:
        slug, sha256 = self.slug(workspace), self.hash(content)

        def judge(state: HoldingState) -> HoldingEvent | None:
            return decide_renewal(state, LEASE, ACTOR, always=what == "renew")

        def vouch(state: HoldingState) -> HoldingEvent | None:
            return decide_grant(state, slug, sha256, LEASE, ACTOR)

        if what == "grant":
            self.on_both(lambda ledger: ledger.blobs.grant(slug, sha256, vouch))
        elif what == "give up":
            self.on_both(lambda ledger: ledger.blobs.release(slug, sha256, ACTOR))
        elif what == "wait":
            self.on_both(lambda ledger: ledger.advance(timedelta(minutes=content)))
        else:
            self.on_both(lambda ledger: ledger.blobs.renew(slug, [sha256, self.hash(0)], judge))

    @rule(workspace=workspaces, entity=entities, order=st.lists(contents, min_size=1, max_size=4), key=keys)
    def append(self, workspace: str, entity: int, order: list[int], key: str | None) -> None:
        for content in order:
            self.change(attach(book(self.slug(workspace), entity), "pages", self.hash(content)), key)

    @rule(
        workspace=workspaces,
        entity=entities,
        role=roles,
        content=contents,
        position=positions,
        labels=labels,
        visibility=visibilities,
        behind=staleness,
        key=keys,
    )
    def put(self, workspace: str, entity: int, role: str, content: int, key: str | None, **rest: Any) -> None:
        owner, behind = book(self.slug(workspace), entity), rest.pop("behind")
        self.change(attach(owner, role, self.hash(content), version=self.version_of(owner, behind), **rest), key)

    @rule(workspace=workspaces, entity=entities, role=roles, content=contents, position=positions, behind=staleness)
    def insert(self, workspace: str, entity: int, role: str, content: int, **rest: Any) -> None:
        owner, behind = book(self.slug(workspace), entity), rest.pop("behind")
        version = self.version_of(owner, behind)
        self.change(attach(owner, role, self.hash(content), version=version, shift=True, **rest), None)

    @rule(workspace=workspaces, entity=entities, role=roles, position=positions, behind=staleness, key=keys)
    def release(self, workspace: str, entity: int, role: str, key: str | None, **rest: Any) -> None:
        owner, behind = book(self.slug(workspace), entity), rest.pop("behind")
        self.change(release(owner, role, rest["position"] or 0, self.version_of(owner, behind)), key)

    def hold(self, workspace: str, content: int, key: str | None = None) -> None:
        slug, sha256, media = self.slug(workspace), self.hash(content), MediaInfo("image/png", content, 1)
        claim = None if key is None else blob_claim_on(key, f"upload {content}")
        self.on_both(lambda ledger: ledger.publish(slug, sha256, size=content, media=media, claim=claim))

    @invariant()
    def both_logs_tell_one_story_in_dense_versions(self) -> None:
        for name in WORKSPACES:
            told, told_in_memory = self.on_each(lambda ledger, slug=name: ledger.events(self.slug(slug)))
            assert [gist_of_event(event) for event in told] == [gist_of_event(event) for event in told_in_memory]
            changes = [event for event in told if isinstance(event, RefEvent) and event.code is None]
            for entity in {event.entity for event in changes}:
                versions = [event.version for event in changes if event.entity == entity]
                assert versions == list(range(1, len(versions) + 1))

    def change(self, command: Command, key: str | None) -> None:
        asked = replace(command, ref_id=None) if isinstance(command, Attach) else command  # type: ignore[arg-type]
        claim = None if key is None else claim_on(key, repr(asked))
        self.on_both(lambda ledger: ledger.change(command, claim))

    def version_of(self, entity: EntityKey, behind: int | None) -> int | None:
        if behind is None:
            return None
        refs: EntityRefs = self.run(self.ledgers[0].refs.of_entity(entity))
        return max(0, refs.version - behind)

    def on_both(self, call: Any) -> None:
        """Both must answer alike."""
        answer, answer_from_memory = self.on_each(call)
        assert gist_of(answer) == gist_of(answer_from_memory)

    def on_each(self, call: Any) -> list[Any]:
        return [self.run(answer_of(call(ledger))) for ledger in self.ledgers]

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    def slug(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def hash(self, content: int) -> Sha256:
        return hash_of(f"{self.prefix} {content}")


async def answer_of(call: Awaitable[object]) -> object:
    """What it returns, or what it refuses with."""
    try:
        return await call
    except RefkeepError as error:
        return error


def gist_of(answer: object) -> object:
    """All of an answer but its times and event ids."""
    match answer:
        case RefkeepError():
            return type(answer), str(answer), answer.members(), answer.index
        case RefOutcome():
            refs = [gist_of_ref(ref) for ref in (answer.ref, answer.replaced, *(answer.refs or ()))]
            return answer.decision, answer.version, refs, answer.event_id is None
        case BlobOutcome():
            return answer.decision, answer.blob.sha256, answer.blob.size, answer.blob.media
        case Published():
            return gist_of(answer.outcome), answer.object_used
        case _:
            return gist_of_many(answer)


def gist_of_many(answer: object) -> object:
    """The same of collections; of anything else what it is."""
    match answer:
        case tuple():
            return [gist_of(each) for each in answer]
        case dict():
            return {sha256: gist_of(outcome) for sha256, outcome in answer.items()}
        case int():
            return answer
        case _:
            return type(answer)


def gist_of_ref(resolved: Any) -> object:
    """All of a ref but its times."""
    if resolved is None:
        return None
    ref = resolved.ref
    timeless = (
        ref.ref_id,
        ref.entity,
        ref.role,
        ref.position,
        ref.former_position,
        ref.state,
        ref.visibility,
        ref.labels,
    )
    return timeless, resolved.blob.sha256, resolved.blob.media, ref.trashed_at is None, ref.purge_after is None


def gist_of_event(event: Event) -> object:
    """All of an event but its times."""
    if isinstance(event, HoldingEvent):
        return event.type, event.decision, event.holding.workspace, event.holding.sha256, event.holding.size
    if isinstance(event, HoldEvent):
        return event.type, event.decision, event.workspace, event.hold.sha256, event.hold.kind, event.hold.status
    if isinstance(event, BlobEvent):
        return event.type, event.decision, event.workspace, event.sha256, event.health
    refs = [None if ref is None else (ref.ref_id, ref.position, ref.labels) for ref in (event.ref, event.replaced)]
    about = event.entity, event.version, event.role, event.sha256, event.code, event.ref_ids
    return event.type, event.decision, about, refs


def test_the_log_tells_the_tables_whatever_is_done(database_url: str) -> None:
    class Machine(LedgerMachine):
        dsn = database_url

    # Every step is real work, and a shorter story is not worth ten minutes of it.
    told_once = settings(max_examples=10, stateful_step_count=40, deadline=None, phases=[Phase.generate])
    run_state_machine_as_test(Machine, settings=told_once)
