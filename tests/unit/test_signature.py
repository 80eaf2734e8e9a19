"""Signed addresses: what verifies, and that nothing else does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.signature import Signatures, SigningKey, end_of

PATH = "/media/01890a5d-ac96-774b-bcce-b302099a8057/file"
OLD, NEW = SigningKey("2025", b"o" * 32), SigningKey("2026", b"n" * 32)
NOW, EXPIRES = 1_795_000_000.0, 1_795_000_200
SIGNED = Signatures((NEW,)).sign(PATH, EXPIRES)


def test_what_was_signed_holds_until_it_expires() -> None:
    signatures = Signatures((NEW,))
    assert signatures.expiry(PATH, SIGNED, NOW) == EXPIRES
    assert signatures.expiry(PATH, SIGNED, EXPIRES - 0.001) == EXPIRES
    assert signatures.expiry(PATH, SIGNED, EXPIRES) is None


@given(st.data())
def test_no_character_can_be_changed_left_out_or_added(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(SIGNED) - 1))
    other = data.draw(st.characters(exclude_characters=SIGNED[place]))
    left_out, added = SIGNED[:place] + SIGNED[place + 1 :], SIGNED[:place] + other + SIGNED[place:]
    for query in (SIGNED[:place] + other + SIGNED[place + 1 :], left_out, added):
        assert query == SIGNED or Signatures((NEW,)).expiry(PATH, query, NOW) is None


@given(st.text())
def test_no_other_path_is_opened(path: str) -> None:
    assert path == PATH or Signatures((NEW,)).expiry(path, SIGNED, NOW) is None


def test_a_key_is_replaced_without_a_failure() -> None:
    old = Signatures((OLD,)).sign(PATH, EXPIRES)
    both = Signatures((NEW, OLD))
    assert both.expiry(PATH, old, NOW) == both.expiry(PATH, SIGNED, NOW) == EXPIRES
    assert both.sign(PATH, EXPIRES) == SIGNED
    assert Signatures((NEW,)).expiry(PATH, old, NOW) is None


def test_a_signature_of_one_key_does_not_hold_under_the_name_of_another() -> None:
    renamed = SIGNED.replace("key=2026", "key=2025")
    assert Signatures((NEW, OLD)).expiry(PATH, renamed, NOW) is None


def test_without_keys_nothing_verifies() -> None:
    assert Signatures().expiry(PATH, SIGNED, NOW) is None


def test_a_secret_is_not_shown() -> None:
    assert "oooo" not in repr(Signatures((OLD,)))


@pytest.mark.parametrize(
    ("now", "seconds", "end"), [(0, 1, 300), (0, 300, 300), (0.001, 300, 600), (299, 1, 300), (299, 2, 600)]
)
def test_an_end_is_a_full_five_minutes_and_never_too_early(now: float, seconds: int, end: int) -> None:
    assert end_of(now, timedelta(seconds=seconds)) == end
