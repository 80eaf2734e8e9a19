"""The Range header: tables from RFC 9110 §14 and properties against a model that counts single bytes."""

from __future__ import annotations

from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.ranges import MAX_ASKED, MAX_PARTS, ByteRange, Selection, select

SIZE = 10_000
WHOLE = None
NOTHING: Selection = ()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-499", ((0, 499),)),
        ("bytes=500-999", ((500, 999),)),
        ("bytes=-500", ((9500, 9999),)),
        ("bytes=9500-", ((9500, 9999),)),
        ("bytes=0-0,-1", ((0, 0), (9999, 9999))),
        ("bytes= 0-0 ,, 4-5,", ((0, 0), (4, 5))),
        ("Bytes=7-7", ((7, 7),)),
        ("bytes=9999-20000", ((9999, 9999),)),
        ("bytes=0-99999999999999999999999999", ((0, 9999),)),
        ("bytes=00000000000000000000000000005-6", ((5, 6),)),
        ("bytes=-10000", ((0, 9999),)),
        ("bytes=-99999999999999999999999999", ((0, 9999),)),
    ],
)
def test_a_valid_range_is_clamped_to_the_representation(header: str, expected: Selection) -> None:
    assert select(header, SIZE) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=5-4",
        "bytes=0-1,5-4",
        "bytes=0 - 1",
        "bytes =0-1",
        "bytes=0-1;2-3",
        "bytes=0x1-2",
        "bytes=١-٢",
        "bytes=0-1, bytes=2-3",
        "bytes=20000-10000",
        "items=0-1",
        "none",
    ],
)
def test_what_is_no_set_of_byte_ranges_is_ignored(header: str | None) -> None:
    assert select(header, SIZE) is WHOLE


@pytest.mark.parametrize(
    "header", ["bytes=10000-", "bytes=10000-10001", "bytes=-0", "bytes=-0,-0", "bytes=99999999999999999999-"]
)
def test_a_set_without_any_byte_is_unsatisfiable(header: str) -> None:
    assert select(header, SIZE) == NOTHING


@pytest.mark.parametrize("header", ["bytes=0-0", "bytes=0-", "bytes=-1", "bytes=-0", "bytes=5-9", "bytes=0-0,2-2"])
def test_an_empty_representation_has_no_ranges(header: str) -> None:
    assert select(header, 0) is WHOLE


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-4,2-9", ((0, 9),)),
        ("bytes=0-4,5-9", ((0, 9),)),
        ("bytes=0-4,6-9", ((0, 4), (6, 9))),
        ("bytes=0-9,3-4", ((0, 9),)),
        ("bytes=50-60,0-1,55-70,2-3", ((50, 70), (0, 3))),
        ("bytes=90-99,0-9,5-95", ((0, 99),)),
        ("bytes=20000-,4-4,-0", ((4, 4),)),
        ("bytes=0-,0-,0-", ((0, 9999),)),
    ],
)
def test_ranges_that_overlap_or_touch_become_one_at_the_first_asked_place(header: str, expected: Selection) -> None:
    assert select(header, SIZE) == expected


def test_more_separate_ranges_than_the_limit_are_answered_by_the_whole() -> None:
    apart = [f"{start}-{start}" for start in range(0, 2 * MAX_PARTS + 2, 2)]
    assert len(select("bytes=" + ",".join(apart[:MAX_PARTS]), SIZE) or ()) == MAX_PARTS
    assert select("bytes=" + ",".join(apart[: MAX_PARTS + 1]), SIZE) is WHOLE


def test_eight_kibibytes_of_ranges_cost_less_than_two_milliseconds() -> None:
    longest_that_counts = ",".join(f"0-{10**9 + place}" for place in range(MAX_ASKED))
    assert select("bytes=" + longest_that_counts, 10**12) == ((0, 10**9 + MAX_ASKED - 1),)
    attacks = [
        longest_that_counts,
        "0-," * 2728,
        ",".join(f"{start}-{start}" for start in range(4000, 0, -2))[:8185],
        "9" * 8185 + "-",
        "0" * 8185 + "-",
        "," * 8186,
        "-" * 8186,
        "0-0" + " " * 8183,
        "0-0," + " " * 8181 + "x",
    ]
    for attack in attacks:
        assert min(_seconds("bytes=" + attack) for _ in range(20)) < 0.002


def _seconds(header: str) -> float:
    started = process_time()
    select(header, 10**12)
    return process_time() - started


_bounds = st.integers(0, 40)
_specs = st.one_of(
    st.tuples(_bounds, _bounds).map(lambda ends: f"{min(ends)}-{max(ends)}"),
    _bounds.map(lambda first: f"{first}-"),
    _bounds.map(lambda suffix: f"-{suffix}"),
)


def _bytes_of(spec: str, size: int) -> set[int]:
    first, _, last = spec.partition("-")
    if not first:
        return set(range(size)[-int(last) :]) if int(last) else set()
    return set(range(size)) & set(range(int(first), int(last or size) + 1))


@given(specs=st.lists(_specs, min_size=1, max_size=12), size=st.integers(1, 30))
def test_what_is_selected_is_exactly_what_was_asked_for(specs: list[str], size: int) -> None:
    wanted = set().union(*(_bytes_of(spec, size) for spec in specs))
    selected = select("bytes=" + ", ".join(specs), size)
    if selected is WHOLE:
        separate = sum(1 for byte in wanted if byte - 1 not in wanted)
        assert separate > MAX_PARTS
    else:
        chosen = [byte for part in selected for byte in range(part.first, part.last + 1)]
        assert sorted(chosen) == sorted(wanted)
        assert sum(part.length for part in selected) <= size


@given(specs=st.lists(_specs, min_size=1, max_size=12), size=st.integers(1, 30))
def test_parts_stand_in_the_order_in_which_they_were_asked_for(specs: list[str], size: int) -> None:
    def first_asked(part: ByteRange) -> int:
        return next(
            place for place, spec in enumerate(specs) if part.first in _bytes_of(spec, size) or _inside(spec, part)
        )

    def _inside(spec: str, part: ByteRange) -> bool:
        found = _bytes_of(spec, size)
        return bool(found) and min(found) in range(part.first, part.last + 1)

    places = [first_asked(part) for part in select("bytes=" + ",".join(specs), size) or ()]
    assert places == sorted(places)


@given(header=st.text(), size=st.integers(0, 2**63))
def test_no_text_breaks_the_parser(header: str, size: int) -> None:
    for text in (header, f"bytes={header}"):
        for part in select(text, size) or ():
            assert 0 <= part.first <= part.last < size
