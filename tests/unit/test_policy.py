"""Policies: which one covers a role, and what it says of a blob."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.blob import MediaInfo
from service.domain.errors import PolicyUnknown, Rejected, VisibilityNotAllowed
from service.domain.policy import Cardinality, Oversize, Policies, Policy, Visibility, refusal_of, resolve_visibility
from service.domain.rendition import Normalisation, Preset

POLICY = Policy("book", "cover", Cardinality.SINGLE, Visibility.PUBLIC)
PICTURE = MediaInfo("image/png", 800, 600, 1, None, readable=True)
FILM = MediaInfo("video/mp4", 1920, 1080, None, 60_000, readable=True)


def policy_named(entity_type: str, role: str) -> Policy:
    """A policy that can be told from others."""
    return replace(POLICY, entity_type=entity_type, role=role)


def code_of(refusal: Rejected | None) -> str | None:
    """What callers see; its facts fit into a problem document."""
    if refusal is None:
        return None
    json.dumps(refusal.members())
    return refusal.code


def test_the_most_exact_policy_covers_a_role() -> None:
    names = [("*", "*"), ("*", "cover"), ("book", "*"), ("book", "cover")]
    policies = [policy_named(*name) for name in names]
    for count in range(1, 5):
        found = Policies(tuple(policies[:count])).find("book", "cover")
        assert found == policies[count - 1]


@pytest.mark.parametrize(("entity_type", "role"), [("book", "back"), ("magazine", "cover"), ("*", "cover")])
def test_a_role_without_a_policy_is_refused_with_the_known_ones(entity_type: str, role: str) -> None:
    policies = Policies((policy_named("book", "cover"), policy_named("author", "portrait")))
    assert policies.find(entity_type, role) is None
    with pytest.raises(PolicyUnknown) as refused:
        policies.of(entity_type, role)
    assert refused.value.members() == {"known": ["author/portrait", "book/cover"]}
    assert policies.of("book", "cover") is policies.items[0]


def test_pictures_are_needed_where_a_role_has_presets_or_normalises() -> None:
    needing = [replace(POLICY, presets=("thumb",)), replace(POLICY, normalisation=Normalisation())]
    assert not Policies((POLICY,), (Preset("thumb", 1, 1),)).need_pictures
    assert all(Policies((POLICY, each)).need_pictures for each in needing)


def test_a_single_role_holds_one_and_a_list_what_its_policy_says() -> None:
    assert replace(POLICY, max_items=7).capacity == 1
    assert replace(POLICY, cardinality=Cardinality.LIST, max_items=7).capacity == 7


@pytest.mark.parametrize(
    ("allowed", "accepted"),
    [
        (("*/*",), True),
        (("image/*",), True),
        (("image/png",), True),
        (("text/plain", "image/png"), True),
        (("image/jpeg",), False),
        (("video/*",), False),
        ((), False),
    ],
)
def test_media_types_are_exact_or_wild(allowed: tuple[str, ...], *, accepted: bool) -> None:
    policy = replace(POLICY, media_types=allowed)
    assert policy.accepts_type("image/png") is accepted
    assert code_of(refusal_of(policy, 1, PICTURE)) == (None if accepted else "media-type-not-allowed")


@pytest.mark.parametrize(
    ("media_type", "code"),
    [
        ("image/jpeg", None),
        ("image/apng", None),
        ("image/tiff", "dimensions-exceeded"),
        ("video/mp4", "dimensions-exceeded"),
    ],
)
def test_what_can_be_scaled_down_is_taken_beyond_the_edge_and_never_beyond_the_pixels(
    media_type: str, code: str | None
) -> None:
    policy = replace(POLICY, max_edge=700, oversize=Oversize.DOWNSCALE)
    assert code_of(refusal_of(policy, 1, replace(PICTURE, media_type=media_type))) == code
    assert code_of(refusal_of(replace(policy, max_pixels=1000), 1, PICTURE)) == "dimensions-exceeded"
    assert code_of(refusal_of(replace(policy, oversize=Oversize.REJECT), 1, PICTURE)) == "dimensions-exceeded"


@pytest.mark.parametrize(
    ("media_type", "code"),
    [
        ("image/avif", None),
        ("image/heic", "media-type-not-allowed"),
        ("image/tiff", "media-type-not-allowed"),
        ("image/svg+xml", "media-type-not-allowed"),
        ("text/plain", None),
        ("video/mp4", None),
    ],
)
def test_a_role_that_normalises_takes_no_picture_that_it_would_have_to_show_as_it_is(
    media_type: str, code: str | None
) -> None:
    media, policy = replace(PICTURE, media_type=media_type), replace(POLICY, media_types=("*/*",))
    assert code_of(refusal_of(policy, 1, media)) is None
    refusal = refusal_of(replace(policy, normalisation=Normalisation()), 1, media)
    assert code_of(refusal) == code
    assert code is None or "image/jpeg" in str(refusal)


def test_the_most_exact_policy_says_whether_a_role_admits_a_preset() -> None:
    """The first rule that fits says what `find` would."""
    names = [("*", "*"), ("*", "cover"), ("book", "*"), ("book", "cover")]
    items = [
        replace(policy_named(*each), presets=("small",) if number % 2 else ()) for number, each in enumerate(names)
    ]
    rules = Policies(tuple(items)).admitting("small")
    for entity_type, role in (("book", "cover"), ("book", "page"), ("film", "cover"), ("film", "page")):
        found = Policies(tuple(items)).find(entity_type, role)
        assert found is not None
        fits = [each for each in rules if each.entity_type in {"*", entity_type} and each.role in {"*", role}]
        assert fits[0].admits is ("small" in found.presets)


def test_presets_are_found_by_their_names() -> None:
    policies = Policies((POLICY,), (Preset("small", 320, 320), Preset("large", 1600, 1600)))
    assert policies.preset("large") is policies.presets[1]
    assert policies.preset("huge") is None


@pytest.mark.parametrize(
    ("limits", "size", "media", "code"),
    [
        ({}, 10**12, PICTURE, None),
        ({"max_bytes": 10}, 10, PICTURE, None),
        ({"max_bytes": 10}, 11, PICTURE, "too-large"),
        ({"max_pixels": 480_000}, 1, PICTURE, None),
        ({"max_pixels": 479_999}, 1, PICTURE, "dimensions-exceeded"),
        ({"max_edge": 800}, 1, PICTURE, None),
        ({"max_edge": 799}, 1, PICTURE, "dimensions-exceeded"),
        ({"max_edge": 1, "max_pixels": 1}, 1, PICTURE, "dimensions-exceeded"),
        ({"max_edge": 1, "max_pixels": 1}, 1, MediaInfo("image/png", 800, None), None),
        ({"max_edge": 1, "max_pixels": 1}, 1, MediaInfo("text/plain"), None),
        ({"max_duration_ms": 60_000}, 1, FILM, None),
        ({"max_duration_ms": 59_999}, 1, FILM, "duration-exceeded"),
        ({"max_duration_ms": 1}, 1, PICTURE, None),
        ({}, 1, replace(PICTURE, readable=False), "unreadable-media"),
        ({}, 1, replace(PICTURE, readable=None), None),
    ],
)
def test_a_limit_is_the_last_that_passes(limits: dict[str, int], size: int, media: MediaInfo, code: str | None) -> None:
    policy = Policy("book", "cover", Cardinality.SINGLE, Visibility.PUBLIC, **limits)  # type: ignore[arg-type]
    assert code_of(refusal_of(policy, size, media)) == code


def test_cheap_facts_are_judged_before_costly_ones() -> None:
    policy = replace(POLICY, media_types=("text/*",), max_bytes=1, max_pixels=1, max_duration_ms=1)
    bomb = MediaInfo("image/png", 10**6, 10**6, 1, 10**6, readable=False)
    codes = []
    for relaxed in (
        {},
        {"max_bytes": None},
        {"media_types": ("*/*",)},
        {"max_pixels": None},
        {"max_duration_ms": None},
    ):
        policy = replace(policy, **relaxed)
        codes.append(code_of(refusal_of(policy, 2, bomb)))
    assert codes == [
        "too-large",
        "media-type-not-allowed",
        "dimensions-exceeded",
        "duration-exceeded",
        "unreadable-media",
    ]


@pytest.mark.parametrize("default", Visibility)
@pytest.mark.parametrize("asked", [None, *Visibility])
@pytest.mark.parametrize("public_allowed", [False, True])
def test_nothing_is_public_where_the_policy_forbids_it(
    default: Visibility, asked: Visibility | None, *, public_allowed: bool
) -> None:
    resolved = resolve_visibility(replace(POLICY, visibility=default, public_allowed=public_allowed), asked)
    wanted = asked or default
    if wanted is Visibility.PUBLIC and not public_allowed:
        assert isinstance(resolved, VisibilityNotAllowed)
    else:
        assert resolved is wanted


@given(st.integers(0, 2**40), st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**9))
def test_what_a_stricter_policy_takes_a_looser_one_takes(size: int, width: int, height: int, duration: int) -> None:
    media = MediaInfo("video/mp4", width, height, None, duration, readable=True)
    strict = replace(POLICY, max_bytes=2**30, max_pixels=10**8, max_edge=10**4, max_duration_ms=10**6)
    for looser in ({"max_bytes": None}, {"max_pixels": None}, {"max_edge": 10**5}, {"max_duration_ms": 10**8}):
        if refusal_of(strict, size, media) is None:
            assert refusal_of(replace(strict, **looser), size, media) is None
