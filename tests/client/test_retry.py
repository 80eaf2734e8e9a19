"""When the client tries again, as pure rules."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkeep_client import NO_RETRY, Problem, RefkeepError, Retry, Unavailable, Unexpected, Unreachable
from refkeep_client.problems import ProblemDocument
from refkeep_client.retry import parse_retry_after
from refkeep_client.sending import Attempts, may_help

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def unavailable(retry_after: float | None = None) -> Unavailable:
    return Unavailable(ProblemDocument(status=503, code="unavailable", retryable=True), None, retry_after)


@given(failures=st.integers(1, sys.maxsize))
def test_pauses_double_up_to_the_most_and_leave_out_a_random_half(failures: int) -> None:
    retry = Retry(first_s=0.1, most_s=5.0)
    whole = min(5.0, 0.1 * 2 ** min(failures - 1, 30))
    assert whole / 2 <= retry.pause(failures) <= whole


@given(failures=st.integers(1, 20), asked=st.floats(0, 3600))
def test_no_pause_is_shorter_than_the_service_asks_for(failures: int, asked: float) -> None:
    assert Retry().pause(failures, asked) >= asked


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Fri, 02 Jan 2026 03:05:05 -0000", 60.0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("²", None),
        ("Mon, 01 Jan 2026 99999999999999999999:00:00 GMT", None),
        ("Mon, 99999999999999999999 Jan 2026 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text())
def test_no_retry_after_breaks_the_client(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


def test_the_last_failure_is_raised_once_all_attempts_are_spent() -> None:
    attempts, errors = Attempts(Retry(attempts=3)), [unavailable() for _ in range(3)]
    for error in errors[:2]:
        assert attempts.pause_after(error) > 0
    with pytest.raises(Unavailable) as raised:
        attempts.pause_after(errors[2])
    assert raised.value is errors[2]


def test_a_call_without_retries_fails_at_once() -> None:
    with pytest.raises(Unavailable):
        Attempts(NO_RETRY).pause_after(unavailable())


def test_a_pause_that_ends_too_late_is_not_begun() -> None:
    attempts = Attempts(Retry(total_s=10))
    assert attempts.pause_after(unavailable(5)) >= 5
    with pytest.raises(Unavailable) as raised:
        attempts.pause_after(unavailable(11))
    assert raised.value.retry_after == 11


def test_what_goes_on_begins_to_count_anew() -> None:
    attempts = Attempts(Retry(attempts=2))
    for _ in range(5):
        attempts.pause_after(unavailable())
        attempts.succeeded()
    assert attempts.failures == 0


def test_a_feed_never_gives_up() -> None:
    endless = Retry(attempts=1, total_s=0.0).endless()
    assert (endless.attempts, endless.total_s) == (sys.maxsize, inf)
    assert Attempts(endless, failures=10_000).pause_after(unavailable()) <= endless.most_s


@given(failures=st.integers(1, 20), asked=st.floats(0, 1e9))
def test_no_retry_after_silences_a_feed_for_more_than_a_minute(failures: int, asked: float) -> None:
    assert min(asked, 60.0) <= Retry().endless().pause(failures, asked) <= 61.0


def document(status: int, code: str, *, retryable: bool) -> ProblemDocument:
    return ProblemDocument(status=status, code=code, retryable=retryable)


@pytest.mark.parametrize(
    ("error", "helps"),
    [
        (Unreachable("nobody listens"), True),
        (unavailable(), True),
        (Unavailable(document(429, "http-429", retryable=True)), True),
        (Unavailable(document(503, "signing-disabled", retryable=False)), False),
        (Problem(document(409, "idempotency-in-progress", retryable=True)), True),
        (Problem(document(409, "role-full", retryable=False)), False),
        (Problem(document(412, "version-conflict", retryable=False)), False),
        (Problem(document(500, "internal", retryable=False)), False),
        (Problem(document(408, "request-timeout", retryable=True)), False),
        (Problem(document(507, "storage-full", retryable=True)), False),
        (Unexpected("not Refkeep"), False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(error: RefkeepError, helps: bool) -> None:
    assert may_help(error) is helps
