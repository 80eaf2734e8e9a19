"""The Range header against the size of a representation (RFC 9110 §14): pure, bounded in parts and in time."""

from __future__ import annotations

import re
from operator import itemgetter
from typing import NamedTuple

MAX_PARTS = 8
"""Ranges left after coalescing that are still served as such; more are answered by the whole."""

MAX_ASKED = 100
"""Ranges in one header that are looked at; more are an attack (RFC 9110 §17.15) and answered by the whole."""

_SET = re.compile(r"[ \t,]*(?:(?:[0-9]+-[0-9]*|-[0-9]+)[ \t]*(?:,[ \t,]*|\Z))+")
_SPEC = re.compile(r"([0-9]*)-([0-9]*)")
# A header may spell numbers that are longer than Python likes to read; all of them lie beyond any size.
_LONG = re.compile(r"[0-9]{19,}")
_FAR = "9" * 18


class ByteRange(NamedTuple):
    """Bytes `first` to `last` of a representation, both included, counted from 0."""

    first: int
    last: int

    @property
    def length(self) -> int:
        """Bytes in the range."""
        return self.last - self.first + 1


Selection = tuple[ByteRange, ...] | None
"""What to send: the whole (None), these ranges in this order, or nothing that could be satisfied (empty)."""


def select(header: str | None, size: int) -> Selection:
    """Resolve a Range header against a representation of `size` bytes.

    The whole where the header is absent, of another unit, malformed (one bad range spoils all), or asks for more than
    `MAX_ASKED` ranges or `MAX_PARTS` separate ones; also for an empty representation, of which there is no part. Ranges
    that overlap or touch become one, at the place of the first of them in the header, so that no byte is sent twice.
    """
    specs = None if header is None or size == 0 else _parse(header)
    ranges = None if specs is None else _resolve(specs, size)
    return None if ranges is None else _coalesce(ranges)


def _parse(header: str) -> list[tuple[str, str]] | None:
    """Return (first, last) of each different range asked for, in digits or empty; None for what is no set of them."""
    unit, _, listed = header.partition("=")
    if unit.lower() != "bytes" or listed.count(",") >= MAX_ASKED or _SET.fullmatch(listed) is None:
        return None
    return list(dict.fromkeys(_SPEC.findall(_LONG.sub(_shorten, listed))))


def _shorten(digits: re.Match[str]) -> str:
    number = digits[0].lstrip("0") or "0"
    return number if len(number) <= len(_FAR) else _FAR


def _resolve(specs: list[tuple[str, str]], size: int) -> list[tuple[int, int]] | None:
    """Clamp each range to `size`, leaving out those that hold no byte of it; None if any runs backwards."""
    resolved = []
    for first_digits, last_digits in specs:
        if not first_digits:
            first, last = max(size - int(last_digits), 0), size
        else:
            first, last = int(first_digits), int(last_digits or _FAR)
            if last < first:
                return None
        if first < size:
            resolved.append((first, min(last, size - 1)))
    return resolved


def _coalesce(ranges: list[tuple[int, int]]) -> Selection:
    merged: list[tuple[int, ByteRange]] = []  # with the place where it was asked for
    for place, (first, last) in sorted(enumerate(ranges), key=itemgetter(1)):
        if merged and first <= merged[-1][1].last + 1:
            asked, before = merged[-1]
            merged[-1] = (min(asked, place), ByteRange(before.first, max(before.last, last)))
        elif len(merged) == MAX_PARTS:
            return None
        else:
            merged.append((place, ByteRange(first, last)))
    return tuple(found for _, found in sorted(merged))
