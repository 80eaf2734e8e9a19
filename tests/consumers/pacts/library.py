"""What the library service needs of Refkeep."""

from __future__ import annotations

from pact import match

from refkeep_client import Refkeep
from tests.consumers.pacts.covers import NOTHING, cover_scenes
from tests.consumers.pacts.feed import feed_scenes
from tests.consumers.pacts.scene import Answer, Exchange, Request, Scene
from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import Pool
from tests.consumers.shared.outbox import Courier


def _covers(refkeep: Refkeep, pool: Pool) -> Covers:
    return Covers(refkeep, pool, Courier(refkeep, pool), "library", "libraries")


def _policy() -> Scene:
    async def act(refkeep: Refkeep, _: Pool) -> None:
        policy = await refkeep.policies.get("library", "cover")
        assert (policy.max_bytes, policy.media_types) == (26_214_400, ("image/jpeg",))
        assert (policy.max_edge, policy.oversize) == (2560, "downscale")

    document = {
        "entity_type": "library",
        "role": "cover",
        "cardinality": "single",
        "max_items": 1,
        "media_types": match.each_like("image/jpeg"),
        "max_bytes": match.int(26_214_400),
        "max_pixels": match.int(50_000_000),
        "max_edge": match.int(2560),
        "oversize": match.str("downscale"),
        "max_duration_ms": None,
        "visibility": "public",
        "public_allowed": match.bool(True),
    }
    request = Request("GET", "/policies/library/cover")
    return Scene(act, (Exchange("what a cover may be", NOTHING, {}, request, Answer(200, document)),))


SCENES = [*cover_scenes(_covers, "library", "name"), *feed_scenes(_covers, "library", "name"), _policy()]
