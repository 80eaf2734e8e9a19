"""Rows on their way, entity by entity; and the mistakes that only all rows together show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from service.adapters.sqlite.worklist import SqliteWorklist
from service.domain.importing import MAX_ROWS, MAX_TEXT, Location, ManifestRow, Place, PlaceKind, Reason, SourceKind
from service.domain.policy import Visibility
from service.domain.ref import Labels
from service.domain.slot import EntityKey
from service.ports.worklist import EntityWork, Mistake


@pytest.fixture
def worklist() -> Iterator[SqliteWorklist]:
    made = SqliteWorklist()
    yield made
    made.close()


def book(number: int) -> EntityKey:
    return EntityKey("demo", "book", f"{number:05}")


def row(line: int, entity: EntityKey, number: int = 0, kind: PlaceKind = PlaceKind.POSITION) -> ManifestRow:
    return ManifestRow(line, f"s{line}", entity, "pages", Place(kind, number), Location(SourceKind.FILE, f"{line}.png"))


def filled(worklist: SqliteWorklist, *rows: ManifestRow) -> SqliteWorklist:
    for each in rows:
        worklist.add(each)
    worklist.settle()
    return worklist


def codes(work: EntityWork) -> list[tuple[int, str]]:
    return [(mistake.line, mistake.reason.code) for mistake in work.mistakes]


def test_rows_go_entity_by_entity_whatever_order_they_came_in(worklist: SqliteWorklist) -> None:
    for line in range(2, 602):
        worklist.add(row(line, book(line * 7 % 200), number=line, kind=PlaceKind.ORDER))
    assert worklist.settle() == 600
    seen: list[EntityKey] = []
    while page := worklist.entities(seen[-1] if seen else None, 30):
        assert len(page) <= 30
        seen += page
    assert seen == [book(number) for number in range(200)]
    for entity in seen:
        lines = [each.line for each in worklist.work(entity).rows]
        assert (len(lines), lines) == (3, sorted(lines))


def test_a_row_comes_back_as_it_was(worklist: SqliteWorklist) -> None:
    said = replace(
        row(2, book(1), -5, PlaceKind.ORDER),
        location=Location(SourceKind.DATA, "data:,ü"),
        labels=Labels("a.png", None, "ann"),
        visibility=Visibility.PRIVATE,
    )
    assert filled(worklist, said, row(3, book(2))).work(book(1)) == EntityWork(book(1), (said,))
    assert worklist.work(book(3)) == EntityWork(book(3), ())


def test_mistakes_spoil_their_entity_also_where_it_has_no_rows(worklist: SqliteWorklist) -> None:
    why = Reason("bad-line", "x")
    stray, ours, alone = Mistake(5, why), Mistake(4, why, book(1), "s"), Mistake(6, why, book(9))
    for mistake in (stray, ours, alone):
        worklist.add_mistake(mistake)
    worklist.add(row(2, book(1)))
    assert worklist.settle() == 4
    assert worklist.entities(None, 10) == [book(1), book(9)]
    assert worklist.work(book(1)) == EntityWork(book(1), (row(2, book(1)),), (ours,))
    assert worklist.work(book(9)) == EntityWork(book(9), (), (alone,))
    assert [*worklist.strays()] == [stray]


def test_one_source_twice_spoils_both_entities_and_names_the_other_line(worklist: SqliteWorklist) -> None:
    twice = [replace(row(2, book(1)), source_id="s"), replace(row(3, book(2)), source_id="s")]
    elsewhere = replace(row(4, EntityKey("other", "book", "1")), source_id="s")
    filled(worklist, *twice, elsewhere)
    assert [codes(worklist.work(book(n))) for n in (1, 2)] == [[(2, "same-source-id")], [(3, "same-source-id")]]
    assert worklist.work(book(1)).mistakes[0].reason.detail == "The source_id stands on line 3, too."
    assert worklist.work(book(2)).mistakes[0].reason.detail == "The source_id stands on line 2, too."
    assert worklist.work(elsewhere.entity).mistakes == ()


def test_two_rows_for_one_slot_are_told_on_the_second(worklist: SqliteWorklist) -> None:
    filled(
        worklist,
        row(2, book(1)),
        row(3, book(1)),
        row(4, book(2), 7, PlaceKind.ORDER),
        row(5, book(2), 7, PlaceKind.ORDER),
    )
    assert codes(worklist.work(book(1))) == [(3, "same-slot")]
    assert codes(worklist.work(book(2))) == [(5, "same-slot")]
    assert (
        worklist.work(book(2)).mistakes[0].reason.detail == "The row of line 4 has the same order 7 of the role pages."
    )


def test_positions_have_no_gaps_and_orders_may(worklist: SqliteWorklist) -> None:
    filled(
        worklist,
        *(row(2 + n, book(1), position) for n, position in enumerate((0, 1, 3))),
        *(row(12 + n, book(2), order, PlaceKind.ORDER) for n, order in enumerate((0, 10, -30))),
        *(row(22 + n, book(3), position) for n, position in enumerate((2, 0, 1))),
        row(32, book(4), 1),
    )
    assert codes(worklist.work(book(1))) == [(4, "positions-with-gaps")]
    assert worklist.work(book(1)).mistakes[0].reason.detail.startswith("The positions of the role pages are not 0 to 2")
    assert (worklist.work(book(2)).mistakes, worklist.work(book(3)).mistakes) == ((), ())
    assert codes(worklist.work(book(4))) == [(32, "positions-with-gaps")]


def test_a_role_has_positions_or_orders(worklist: SqliteWorklist) -> None:
    filled(worklist, row(2, book(1), 0), row(3, book(1), 1, PlaceKind.ORDER))
    assert [code for _, code in codes(worklist.work(book(1)))] == ["mixed-places"]


def test_an_entity_has_no_more_than_fits_into_one_transaction_and_into_memory(worklist: SqliteWorklist) -> None:
    heavy = Location(SourceKind.DATA, "x" * (MAX_TEXT // 2 + 1))
    filled(
        worklist,
        *(row(2 + n, book(1), n) for n in range(MAX_ROWS + 1)),
        *(replace(row(MAX_ROWS + 10 + n, book(2), n), location=heavy) for n in range(2)),
        *(row(2 * MAX_ROWS + n, book(3), n) for n in range(MAX_ROWS)),
    )
    assert [code for _, code in codes(worklist.work(book(1)))] == ["too-many-rows"]
    assert [code for _, code in codes(worklist.work(book(2)))] == ["too-many-rows"]
    assert worklist.work(book(3)).mistakes == ()
    assert len(worklist.work(book(3)).rows) == MAX_ROWS
