"""When to try again: a policy, and what `Retry-After` says."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf

_GROWTH = 2.0
_MOST_DOUBLINGS = 30
_MOST_ASKED_S = 60.0
"""As long as `Retry-After` is heeded where attempts are endless: one wrong answer must not silence a feed for days."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how long to try: at most `attempts` times, and none begins `total_s` after the first failure.

    Between attempts lie `first_s` seconds, doubled each time up to `most_s`, of which a random half is left out, and
    never less than `Retry-After` asks for; where it asks for more than is left, the call fails at once. Where
    `total_s` is infinite, as in feeds, it is heeded for a minute at most.
    """

    attempts: int = 6
    total_s: float = 30.0
    first_s: float = 0.1
    most_s: float = 5.0

    def endless(self) -> Retry:
        """The same pauses for ever."""
        return replace(self, attempts=sys.maxsize, total_s=inf)

    def pause(self, failures: int, retry_after: float | None = None) -> float:
        """Seconds to wait behind the n-th failure in a row, n from 1; `retry_after` seconds at least were asked for."""
        whole = min(self.most_s, self.first_s * _GROWTH ** min(failures - 1, _MOST_DOUBLINGS))
        jittered = whole * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, keeps no secret)
        if retry_after is None:
            return jittered
        asked = min(retry_after, _MOST_ASKED_S) if self.total_s == inf else retry_after
        return max(jittered, asked + jittered / 10)


NO_RETRY = Retry(attempts=1)
"""One attempt, whatever comes."""


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait (RFC 9110 §10.2.3), given as a number or as a date; None where it is absent or malformed."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
        return max((until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds(), 0.0)
    except (ValueError, OverflowError):  # numbers of any length are parsed, and not all fit a date
        return None
