"""A short run of `make chaos`, and proof that it would notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.books import Shelf
from tests.chaos.lifetimes import Lifetimes
from tests.chaos.run import Plan, run
from tests.parts.postgres import PostgresServer

BRIEF = Lifetimes(holding=6, trash=4, quarantine=1, upload=8, between_rounds=0.5)


def test_killed_processes_lose_nothing_and_leave_nothing_without_a_reason(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    tally = run(Plan(15, 8, 2, "filesystem", 20, BRIEF), postgres, tmp_path)
    assert tally.flaws == []
    assert tally.kills >= 1, "a slow machine has fewer, but one"
    assert tally.done["bytes compared"] > 0
    assert int(tally.facts["live refs"]) > 0
    assert int(tally.facts["objects left"]) < int(tally.facts["objects made"]), "nothing was ever collected"


def ref(number: int, position: int | None = None, purge_after: str | None = None) -> dict[str, object]:
    name = f"ref-{number}"
    return {"ref_id": name, "blob": {"sha256": f"{number}"}, "position": position, "purge_after": purge_after}


def outcome(decision: str, version: int, **members: object) -> dict[str, object]:
    return {"decision": decision, "entity": {"version": version}, **members}


@pytest.fixture
def shelf() -> Shelf:
    """Two refs, the second in front of the first."""
    made = Shelf("acme", {}, "document/1", "file", is_single=False)
    assert made.apply(outcome("insert", 1, ref=ref(1, 0))) == []
    assert made.apply(outcome("insert", 2, ref=ref(2, 0))) == []
    return made


def listed(*numbers: int) -> dict[str, object]:
    return {"items": [ref(number) for number in numbers], "entity": {"version": 2}}


def test_a_client_knows_its_refs_in_their_order(shelf: Shelf) -> None:
    assert shelf.differences(listed(2, 1)) == []


@pytest.mark.parametrize("numbers", [(1, 2), (2,), (), (2, 1, 3)])
def test_a_client_notices_a_ref_that_is_lost_or_moved_or_not_its_own(shelf: Shelf, numbers: tuple[int, ...]) -> None:
    assert len(shelf.differences(listed(*numbers))) == 1


@pytest.mark.parametrize("version", [1, 2])
def test_a_client_notices_a_version_that_did_not_grow(shelf: Shelf, version: int) -> None:
    assert len(shelf.apply(outcome("release", version, ref=ref(1, None, "2099-01-01T00:00:00.000Z")))) == 1


def test_what_is_in_the_trash_must_be_there_until_its_end(shelf: Shelf) -> None:
    shelf.apply(outcome("release", 3, ref=ref(1, None, "2099-01-01T00:00:00.000Z")))
    shelf.apply(outcome("replace", 4, ref=ref(3, 0), replaced=ref(2, None, "2001-01-01T00:00:00.000Z")))
    assert [shelf.needs(sha256) for sha256 in ("1", "2", "3")] == [True, False, True]
