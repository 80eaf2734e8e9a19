"""Names, ids, positions, hashes and labels: one spelling each, and everything else refused."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.blob import MediaInfo, parse_sha256
from service.domain.errors import BadHash, BadName
from service.domain.ref import Labels, parse_labels
from service.domain.slot import MAX_POSITION, EntityKey, SlotKey, parse_entity_id, parse_name, parse_position

CONTROLS = [chr(number) for number in [*range(32), *range(127, 160)]]
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,63}", fullmatch=True)
ENTITY_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,199}", fullmatch=True)


@given(NAMES)
def test_a_name_is_taken_as_it_is(text: str) -> None:
    assert parse_name(text, "role") == text


@pytest.mark.parametrize("text", ["", "A", "1a", "_a", "a-b", "a b", "é", "a" * 65, "a\n", "a\0", "\u0430"])
def test_any_other_name_is_refused_with_what_it_should_have_been(text: str) -> None:
    with pytest.raises(BadName) as refused:
        parse_name(text, "entity_type")
    assert refused.value.members() == {"member": "entity_type"}


@given(ENTITY_IDS)
def test_an_entity_id_is_taken_as_it_is(text: str) -> None:
    assert parse_entity_id(text) == text


@pytest.mark.parametrize("text", ["", ".", "..", "-a", "~a", "a/b", "a%2Fb", "a b", "é", "a" * 201, "a\n", "a\0", "a?"])
def test_any_other_entity_id_is_refused(text: str) -> None:
    with pytest.raises(BadName, match="entity_id"):
        parse_entity_id(text)


@given(st.integers(0, MAX_POSITION))
def test_a_position_has_one_spelling(position: int) -> None:
    assert parse_position(str(position)) == position


@pytest.mark.parametrize("text", ["", "-1", "+1", "00", "01", "1.0", "1e3", " 1", "1\n", "1000000000", "١", "0x1"])
def test_any_other_spelling_of_a_position_is_refused(text: str) -> None:
    with pytest.raises(BadName, match="position"):
        parse_position(text)


@given(st.text(alphabet=string.hexdigits.lower(), min_size=64, max_size=64))
def test_a_hash_is_64_lower_case_digits(text: str) -> None:
    assert parse_sha256(text) == text


@given(st.text(max_size=70).filter(lambda text: re.fullmatch("[0-9a-f]{64}", text) is None))
def test_any_other_hash_is_refused(text: str) -> None:
    with pytest.raises(BadHash):
        parse_sha256(text)


@pytest.mark.parametrize("text", ["A" * 64, "a" * 63, "a" * 65, "g" * 64, "a" * 64 + "\n", " " + "a" * 63])
def test_a_hash_that_is_almost_one_is_refused_too(text: str) -> None:
    with pytest.raises(BadHash):
        parse_sha256(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_labels_lose_surrounding_space_and_nothing_else(text: str) -> None:
    assert parse_labels(text, None, text) == Labels(text.strip(), None, text.strip())


@pytest.mark.parametrize("character", [*CONTROLS, "\ud800"])
def test_labels_with_what_no_page_can_show_are_refused(character: str) -> None:
    with pytest.raises(BadName) as refused:
        parse_labels(None, f"a{character}b", None)
    assert refused.value.members() == {"member": "alt"}


def test_slots_and_entities_sort_in_the_order_of_their_locks() -> None:
    keys = [EntityKey("b", "a", "1"), EntityKey("a", "b", "1"), EntityKey("a", "a", "2"), EntityKey("a", "a", "10")]
    assert [key.id for key in sorted(keys)] == ["10", "2", "1", "1"]
    assert SlotKey("book", "1", "pages", 2) < SlotKey("book", "1", "pages", 10)


@pytest.mark.parametrize(
    ("media", "pixels"),
    [
        (MediaInfo("image/png", 3, 4), 12),
        (MediaInfo("image/png", 3, None), None),
        (MediaInfo("image/png", None, 4), None),
        (MediaInfo("text/plain"), None),
    ],
)
def test_pixels_are_known_where_both_edges_are(media: MediaInfo, pixels: int | None) -> None:
    assert media.pixels == pixels
