"""Preconditions: the order and the comparisons of RFC 9110 §13."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.delivery.conditional import Outcome, Validators, evaluate, range_applies
from service.delivery.httpdate import format_http_date, parse_http_date

CREATED = datetime(1994, 11, 6, 8, 49, 37, 123000, tzinfo=UTC)
SAME, EARLIER, LATER = (format_http_date(CREATED + timedelta(seconds=shift)) for shift in (0, -1, 1))
BLOB = Validators('"abc"')
MEDIA = Validators('"abc"', CREATED)
PROCEED, UNMODIFIED, FAILED = Outcome.PROCEED, Outcome.NOT_MODIFIED, Outcome.FAILED


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"abc"', UNMODIFIED),
        ('W/"abc"', UNMODIFIED),
        ('"x", "abc"', UNMODIFIED),
        (' "x" ,W/"abc", ', UNMODIFIED),
        ('"x,y", "abc"', UNMODIFIED),
        ("*", UNMODIFIED),
        ('"x"', PROCEED),
        ('"ABC"', PROCEED),
        ('w/"abc"', PROCEED),
        ("abc", PROCEED),
        ('"x", *', PROCEED),
        ('"x" "abc"', PROCEED),
        ('"abc', PROCEED),
        ("", PROCEED),
    ],
)
def test_if_none_match_compares_weakly(header: str, expected: Outcome) -> None:
    assert evaluate({"if-none-match": header}, BLOB) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"abc"', PROCEED),
        ('"x", "abc"', PROCEED),
        ("*", PROCEED),
        ('W/"abc"', FAILED),
        ('"x"', FAILED),
        ("abc", FAILED),
        ("", FAILED),
    ],
)
def test_if_match_compares_strongly(header: str, expected: Outcome) -> None:
    assert evaluate({"if-match": header}, BLOB) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if-modified-since": SAME}, UNMODIFIED),
        ({"if-modified-since": LATER}, UNMODIFIED),
        ({"if-modified-since": EARLIER}, PROCEED),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, UNMODIFIED),
        ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, UNMODIFIED),
        ({"if-modified-since": "yesterday"}, PROCEED),
        ({"if-modified-since": f"{SAME}, {SAME}"}, PROCEED),
        ({"if-unmodified-since": SAME}, PROCEED),
        ({"if-unmodified-since": LATER}, PROCEED),
        ({"if-unmodified-since": EARLIER}, FAILED),
        ({"if-unmodified-since": "yesterday"}, PROCEED),
    ],
)
def test_dates_are_compared_in_whole_seconds(headers: dict[str, str], expected: Outcome) -> None:
    assert evaluate(headers, MEDIA) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"if-match": '"abc"', "if-unmodified-since": EARLIER}, PROCEED),
        ({"if-match": '"x"', "if-none-match": '"abc"'}, FAILED),
        ({"if-match": '"abc"', "if-none-match": '"abc"'}, UNMODIFIED),
        ({"if-unmodified-since": EARLIER, "if-none-match": '"abc"'}, FAILED),
        ({"if-none-match": '"x"', "if-modified-since": LATER}, PROCEED),
        ({"if-none-match": '"abc"', "if-modified-since": EARLIER}, UNMODIFIED),
        ({"if-match": '"abc"', "if-modified-since": LATER}, UNMODIFIED),
        ({}, PROCEED),
    ],
)
def test_each_field_outranks_those_after_it(headers: dict[str, str], expected: Outcome) -> None:
    assert evaluate(headers, MEDIA) is expected


@pytest.mark.parametrize("field", ["if-modified-since", "if-unmodified-since"])
@pytest.mark.parametrize("date", [SAME, EARLIER, LATER])
def test_dates_mean_nothing_for_a_resource_without_last_modified(field: str, date: str) -> None:
    assert evaluate({field: date}, BLOB) is PROCEED


@pytest.mark.parametrize(
    ("if_range", "current", "expected"),
    [
        (None, BLOB, True),
        ('"abc"', BLOB, True),
        ('W/"abc"', BLOB, False),
        ('"x"', BLOB, False),
        ('"x", "abc"', BLOB, False),
        ("*", BLOB, False),
        ("", BLOB, False),
        (SAME, BLOB, False),
        (SAME, MEDIA, True),
        (LATER, MEDIA, False),
        (EARLIER, MEDIA, False),
    ],
)
def test_a_range_counts_only_for_exactly_the_bytes_its_sender_knows(
    if_range: str | None, current: Validators, expected: bool
) -> None:
    assert range_applies(if_range, current) is expected


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 +0100",
        "sun, 06 nov 1994 08:49:37 gmt",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "784111777",
        "",
    ],
)
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert parse_http_date(text) is None


@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - hypothesis adds the zone
def test_a_date_survives_its_spelling_to_the_second(moment: datetime) -> None:
    assert parse_http_date(format_http_date(moment)) == moment.replace(microsecond=0)


@given(st.text())
def test_no_text_breaks_the_evaluation(text: str) -> None:
    assert evaluate({"if-none-match": text}, BLOB) in {PROCEED, UNMODIFIED}
    assert evaluate({"if-match": text}, BLOB) in {PROCEED, FAILED}
    assert evaluate({"if-modified-since": text}, MEDIA) in {PROCEED, UNMODIFIED}


@given(tags=st.lists(st.text("abc,W/*", max_size=4), min_size=1, max_size=5), weak=st.booleans())
def test_a_list_of_tags_names_each_of_them_and_no_other(tags: list[str], weak: bool) -> None:
    header = ", ".join(f'{"W/" if weak else ""}"{tag}"' for tag in tags)
    for tag in {*tags, "never"}:
        found = evaluate({"if-none-match": header}, Validators(f'"{tag}"'))
        assert (found is UNMODIFIED) == (tag in tags)
        strongly = evaluate({"if-match": header}, Validators(f'"{tag}"'))
        assert (strongly is PROCEED) == (tag in tags and not weak)
