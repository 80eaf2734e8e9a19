"""The whole life of refs, in whatever order: both ledgers answer alike, and folding the log makes the tables."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from service.application.changes import Command
from service.domain.decision import Attach
from service.domain.event import RefEvent
from service.domain.lifecycle import KEEP, Revision
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.domain.slot import EntityKey
from service.ports.catalogue import MediaFilter
from tests.adapters.test_postgres_replay import (
    LedgerMachine,
    contents,
    entities,
    gist_of_ref,
    keys,
    positions,
    staleness,
    workspaces,
)
from tests.parts.ledgers import (
    attach,
    batch_claim_on,
    book,
    purge,
    release,
    release_all,
    release_ref,
    reorder,
    restore,
    revise,
)
from tests.parts.postgres import session
from tests.parts.thorough import times

OFTEN, RARELY = ["append", "restore", "release ref"], ["replace", "purge", "revise", "disorder"]
SOMETIMES = ["put", "insert", "reorder", "release", "release all"]
UNKNOWN = UUID(int=4711)


@dataclass(frozen=True)
class Wish:
    """A command as far as it can be said before it is known what is there; `number` chooses among that."""

    what: str
    entity: int
    role: str | None
    number: int
    content: int
    position: int | None
    behind: int | None


wishes = st.builds(
    Wish,
    st.sampled_from([*OFTEN * 3, *SOMETIMES * 2, *RARELY]),
    entities,
    st.sampled_from([*["pages"] * 5, "cover", "cover", "notes", None]),
    st.integers(0, 20),
    contents,
    positions,
    staleness,
)


class LifecycleMachine(LedgerMachine):
    """Every command there is, alone and in batches, and what time does: of all in the database, so it begins empty."""

    upload = keep_or_give_up = append = put = insert = release = None  # type: ignore[assignment]  # `ask` is the rule

    def __init__(self) -> None:
        asyncio.run(emptied(self.dsn))
        super().__init__()

    def teardown(self) -> None:
        for name in ("one", "two"):
            for state in (None, *RefState):
                self.compare(self.slug(name), MediaFilter(state))
        super().teardown()

    @rule(workspace=workspaces, wished=st.lists(wishes, min_size=1, max_size=9), together=st.booleans(), key=keys)
    def ask(self, workspace: str, wished: list[Wish], together: bool, key: str | None) -> None:
        slug = self.slug(workspace)
        if together:
            self.ask_together(slug, [self.command(slug, wish) for wish in wished], key)
        else:
            for wish in wished:
                self.change(self.command(slug, wish), key)

    def ask_together(self, slug: str, commands: list[Command], key: str | None) -> None:
        nameless = [replace(each, ref_id=None) if isinstance(each, Attach) else each for each in commands]  # type: ignore[arg-type]
        claim = None if key is None else batch_claim_on(key, repr(nameless))
        self.on_both(lambda ledger: ledger.change_all(slug, commands, claim))

    @rule(days=st.sampled_from([1, 10, 31]))
    def pass_time(self, days: int) -> None:
        self.on_both(lambda ledger: ledger.advance(timedelta(days=days)))
        self.on_both(lambda ledger: ledger.purge_due(1000))

    def compare(self, slug: str, wanted: MediaFilter) -> None:
        ours, theirs = self.on_each(lambda ledger: ledger.catalogue.page(slug, None, 500, wanted))
        assert [gist_of_ref(found) for found in ours.items] == [gist_of_ref(found) for found in theirs.items]

    def command(self, slug: str, wish: Wish) -> Command:
        entity = book(slug, wish.entity)
        version = self.version_of(entity, wish.behind)
        if wish.what in {"put", "insert", "append"}:
            return self.attach_of(entity, wish, version)
        if wish.what in {"reorder", "disorder"}:
            return reorder(entity, wish.role or "pages", self.order_of(entity, wish), version)
        if wish.what == "release all":
            return release_all(entity, wish.role, version)
        if wish.what == "release":
            return release(entity, wish.role or "pages", wish.position or 0, version)
        return self.by_id(slug, wish)

    def attach_of(self, entity: EntityKey, wish: Wish, version: int | None) -> Command:
        place = None if wish.what == "append" else wish.position
        shift = wish.what == "insert" or place is None
        sha256 = self.hash(wish.content)
        return attach(entity, wish.role or "pages", sha256, place, shift=shift, version=version)

    def order_of(self, entity: EntityKey, wish: Wish) -> list[UUID]:
        listed = self.run(self.ledgers[0].refs.of_entity(entity, wish.role or "pages"))
        ids = [resolved.ref.ref_id for resolved in listed.refs]
        turned = ids[wish.number % (len(ids) or 1) :] + ids[: wish.number % (len(ids) or 1)]
        return turned[::-1] if wish.what == "reorder" else [*turned[1:], UNKNOWN]

    def by_id(self, slug: str, wish: Wish) -> Command:
        state = RefState.LIVE if wish.what in {"release ref", "revise"} else RefState.TRASHED
        known = self.refs_ever(slug) if wish.number % 5 == 0 else self.refs_now(slug, state)
        ref_id = known[-1 - wish.number % len(known)] if known else UNKNOWN
        shown = (KEEP, None, Visibility.PUBLIC, Visibility.PRIVATE)[wish.number % 4]
        commands: dict[str, Command] = {
            "release ref": release_ref(slug, ref_id),
            "restore": restore(slug, ref_id),
            "replace": restore(slug, ref_id, replaces=True),
            "purge": purge(slug, ref_id),
            "revise": revise(slug, ref_id, Revision(alt=str(wish.content), owner=None, visibility=shown)),
        }
        return commands[wish.what]

    def refs_now(self, slug: str, state: RefState) -> list[UUID]:
        """Refs of the workspace that are live, or trashed."""
        page = self.run(self.ledgers[0].catalogue.page(slug, None, 500, MediaFilter(state)))
        return sorted(resolved.ref.ref_id for resolved in page.items)

    def refs_ever(self, slug: str) -> list[UUID]:
        """Refs of the workspace in the order in which they were made, purged ones too."""
        events: Any = self.run(self.ledgers[0].events(slug))
        refs = [event.ref.ref_id for event in events if isinstance(event, RefEvent) and event.ref is not None]
        return list(dict.fromkeys(refs))


async def emptied(dsn: str) -> None:
    async with session(dsn) as connection:
        await connection.execute("TRUNCATE workspaces, objects, rejections, idempotency CASCADE")


def test_the_log_tells_the_tables_through_the_whole_life_of_refs(database_url: str) -> None:
    class Machine(LifecycleMachine):
        dsn = database_url

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=times(25, 8), stateful_step_count=20, deadline=None)
    )
