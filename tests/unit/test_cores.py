"""A container's share of processors bounds how many pictures are made at once."""

from __future__ import annotations

import pytest

from service.adapters.vips.cores import cores, granted


@pytest.mark.parametrize(
    ("quota", "count"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("0 100000\n", 1),
        ("", None),
        ("200000 0", None),
        ("many 100000", None),
    ],
)
def test_what_a_control_group_grants(quota: str, count: int | None) -> None:
    assert granted(quota) == count


def test_there_is_one_at_least() -> None:
    assert cores() >= 1
