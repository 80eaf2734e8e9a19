"""The running service along the links of its own document: each answer leads on to what it tells of."""

from __future__ import annotations

import pytest
from schemathesis.core.failures import FailureGroup

from tests.parts.broken import Damage, broken
from tests.parts.following import SUCCESS, Followed, follow
from tests.parts.service import Refkeep, Yard

SEED, SCENARIOS, ROUNDS = 4711, 12, 4
WAYS = (
    ("post_ref", "get_media", "delete_media"),
    ("post_ref", "delete_media", "restore_media"),
    ("post_ref", "delete_media", "purge_media"),
)


@pytest.mark.timeout(300)
def test_links_lead_from_bytes_to_refs_to_the_trash_and_back(service: Refkeep) -> None:
    seen = Followed()
    for seed in range(SEED, SEED + ROUNDS):
        follow(service, seed=seed, scenarios=SCENARIOS, seen=seen)
        if all(seen.went(*way) for way in WAYS):
            break
    assert [way for way in WAYS if not seen.went(*way)] == []
    assert seen.answers.total() >= 10 * SCENARIOS
    assert len(seen.links) >= 15
    assert {name for name, status in seen.answers if status in SUCCESS} >= {"put_blob", "post_ref", "put_ref"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (Damage("POST", "/refs/document/7/file", without="ref.links"), "Response violates schema"),
        (Damage("DELETE", "/media/[^/]*", status=202), "Undocumented status code"),
        (Damage("GET", "/media/[^/]*", status=500), "Server error"),
    ],
    ids=["a member is missing", "another status", "a crash"],
)
def test_an_answer_that_the_document_does_not_know_ends_the_run(yard: Yard, damage: Damage, told: str) -> None:
    with (
        broken(yard, damage, SIGNING_KEYS="2026:c2lnbmVkIGJ5IHRoZSB0ZXN0cw==") as service,
        pytest.raises(FailureGroup) as found,
    ):
        follow(service, seed=SEED, scenarios=SCENARIOS)
    assert told in str(found.value), str(found.value)
