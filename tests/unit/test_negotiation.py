"""Which format a caller gets, for any header anyone may send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.negotiation import by_extension, negotiate, parse_accept
from service.domain.rendition import Format

AVIF, WEBP, JPEG, PNG, GIF = Format.AVIF, Format.WEBP, Format.JPEG, Format.PNG, Format.GIF
USUAL = (AVIF, WEBP, JPEG)
offers = st.lists(st.sampled_from([AVIF, WEBP, JPEG, PNG, GIF]), min_size=1, unique=True)
weights = st.sampled_from(
    ["", ";q=1", ";q=0", "; q=0.5", ";Q=0.001", ";q=2", ";q=", ";q=0.1234", ";level=1", ";q=1.000"]
)
ranges = st.sampled_from(
    ["image/avif", "image/webp", "IMAGE/JPEG", "image/png", "image/*", "*/*", "text/html", "*", "image/"]
)
headers = st.lists(st.tuples(ranges, weights).map("".join)).map(", ".join) | st.text(max_size=60)

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
OLD_FIREFOX = "image/webp,*/*"
OLD_SAFARI = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"


@pytest.mark.parametrize(
    ("accept", "offered", "chosen"),
    [
        (None, USUAL, JPEG),
        ("", USUAL, JPEG),
        ("*/*", USUAL, JPEG),
        (CHROME, USUAL, AVIF),
        (CHROME, (WEBP, AVIF, JPEG), WEBP),
        (FIREFOX, USUAL, AVIF),
        (OLD_FIREFOX, USUAL, WEBP),
        (OLD_SAFARI, USUAL, JPEG),
        (OLD_SAFARI, (AVIF, WEBP, GIF), GIF),
        ("image/*", (AVIF, WEBP), AVIF),
        ("*/*", (WEBP, AVIF), WEBP),
        ("image/webp;q=0.5, image/avif;q=0.4", USUAL, WEBP),
        ("image/webp;q=0.5, image/jpeg", USUAL, JPEG),
        ("image/avif;q=0, image/webp;q=0, */*", USUAL, JPEG),
        ("image/jpeg;q=0, */*", USUAL, AVIF),
        ("image/avif;q=0, image/*;q=0.1", (AVIF, WEBP), WEBP),
        ("text/html", USUAL, JPEG),
        ("*/*;q=0", USUAL, JPEG),
        ("image/avif;q=0", (AVIF,), AVIF),
        ("IMAGE/AVIF", USUAL, AVIF),
        ("image/avif ; q=1.000", USUAL, AVIF),
        ("image/avif;level=1", USUAL, JPEG),
        ('text/x;a="image/avif, image/webp", image/webp', USUAL, WEBP),
        (r'text/x;a="\", image/avif, ", image/webp', USUAL, WEBP),
        ("image/avif;q=1.5, image/webp;q=0.1", USUAL, WEBP),
        (",, image/webp,,", USUAL, WEBP),
        ("\0\xff", USUAL, JPEG),
    ],
)
def test_who_gets_what(accept: str | None, offered: tuple[Format, ...], chosen: Format) -> None:
    assert negotiate(accept, offered) is chosen


@given(headers, offers)
def test_any_header_gets_one_of_what_is_offered_and_always_the_same(accept: str, offered: list[Format]) -> None:
    chosen = negotiate(accept, offered)
    assert chosen in offered
    assert negotiate(accept, tuple(offered)) is chosen


@given(
    st.dictionaries(st.sampled_from(["image/avif", "image/webp", "image/jpeg", "*/*"]), st.integers(0, 1000)), offers
)
def test_what_is_named_and_refused_is_given_only_where_nothing_is_accepted(
    wanted: dict[str, int], offered: list[Format]
) -> None:
    chosen = negotiate(", ".join(f"{name};q={weight / 1000:.3f}" for name, weight in wanted.items()), offered)
    if wanted and wanted.get(chosen.media_type, 1) == 0:
        assert all(wanted.get(each.media_type, wanted.get("*/*", 0)) == 0 for each in offered)


@given(st.lists(st.tuples(st.sampled_from(["image/avif", "image/webp", "*/*"]), st.integers(0, 1000)), max_size=6))
def test_the_order_of_ranges_says_nothing(members: list[tuple[str, int]]) -> None:
    parts = [f"{name};q={weight / 1000:.3f}" for name, weight in members]
    assert negotiate(",".join(parts), USUAL) is negotiate(",".join(reversed(parts)), USUAL)


@given(headers)
def test_what_is_read_of_a_header_are_types_with_weights(text: str) -> None:
    for name, weight in parse_accept(text).items():
        assert name == name.lower()
        assert name.count("/") == 1
        assert 0 <= weight <= 1


def test_a_header_of_64_kib_is_read_at_once() -> None:
    for piece in ('"', "a/b;", "a/b;c=", ",", "a/b;q=0.1,", '\\"', "a/b ;\t"):
        assert negotiate(piece * (65_536 // len(piece)), USUAL) is JPEG


@pytest.mark.parametrize(
    ("extension", "found"),
    [("avif", AVIF), ("webp", WEBP), ("jpg", JPEG), ("jpeg", None), ("JPG", None), ("png", None), ("", None)],
)
def test_an_extension_has_one_spelling(extension: str, found: Format | None) -> None:
    assert by_extension(extension, USUAL) is found
