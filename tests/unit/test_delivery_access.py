"""Who may have which bytes: the whole table."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from service.delivery.access import Grant, Refusal, Reuse, judge_blob, judge_media
from service.domain.blob import parse_sha256
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.ports.descriptors import BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes

CONTENT = ServableBytes(parse_sha256("ab" * 32), 3, "image/png", "ab/ab/key")
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("public", "held", "expected"),
    [
        (True, True, Grant(CONTENT, Reuse.IMMUTABLE)),
        (True, False, Grant(CONTENT, Reuse.IMMUTABLE)),
        (False, True, Grant(CONTENT, Reuse.NEVER)),
        (False, False, Refusal.NOT_FOUND),
    ],
)
def test_a_blob_goes_to_anyone_while_public_and_else_to_its_holders(
    public: bool, held: bool, expected: Grant | Refusal
) -> None:
    assert judge_blob(BlobDescriptor(CONTENT, public, held)) == expected


@pytest.mark.parametrize(
    ("state", "visibility", "owned", "expected"),
    [
        (RefState.LIVE, Visibility.PUBLIC, True, Reuse.BRIEF),
        (RefState.LIVE, Visibility.PUBLIC, False, Reuse.BRIEF),
        (RefState.LIVE, Visibility.PRIVATE, True, Reuse.NEVER),
        (RefState.LIVE, Visibility.PRIVATE, False, Refusal.NOT_FOUND),
        (RefState.TRASHED, Visibility.PUBLIC, True, Reuse.NEVER),
        (RefState.TRASHED, Visibility.PUBLIC, False, Refusal.NOT_FOUND),
        (RefState.TRASHED, Visibility.PRIVATE, True, Reuse.NEVER),
        (RefState.TRASHED, Visibility.PRIVATE, False, Refusal.NOT_FOUND),
    ],
)
def test_media_goes_by_its_own_state_and_visibility(
    state: RefState, visibility: Visibility, owned: bool, expected: Reuse | Refusal
) -> None:
    media = MediaDescriptor(UUID(int=7), CONTENT, visibility, state, owned, "a.png", WHEN, "book", "cover")
    found = judge_media(media)
    assert found == (expected if isinstance(expected, Refusal) else Grant(CONTENT, expected, media))


@pytest.mark.parametrize(("owned", "expected"), [(True, Refusal.GONE), (False, Refusal.NOT_FOUND)])
def test_a_purged_ref_is_gone_for_its_workspace_and_unknown_to_the_rest(owned: bool, expected: Refusal) -> None:
    assert judge_media(PurgedMedia(owned)) is expected


def test_what_does_not_exist_is_not_found() -> None:
    assert judge_blob(None) is Refusal.NOT_FOUND
    assert judge_media(None) is Refusal.NOT_FOUND


@pytest.mark.parametrize(("hold", "told"), [(404, Refusal.NOT_FOUND), (451, Refusal.ON_HOLD)])
def test_a_hold_refuses_whoever_might_have_had_the_bytes_and_tells_nobody_else(hold: int, told: Refusal) -> None:
    for public, held in ((True, True), (True, False), (False, True)):
        assert judge_blob(BlobDescriptor(CONTENT, public, held, hold)) is told
    assert judge_blob(BlobDescriptor(CONTENT, public=False, held=False, hold=hold)) is Refusal.NOT_FOUND
    for visibility, owned, expected in (
        (Visibility.PUBLIC, False, told),
        (Visibility.PRIVATE, True, told),
        (Visibility.PRIVATE, False, Refusal.NOT_FOUND),
    ):
        media = MediaDescriptor(
            UUID(int=7), CONTENT, visibility, RefState.LIVE, owned, "a.png", WHEN, "book", "cover", hold
        )
        assert judge_media(media) is expected
