"""What presets made of blobs: where it is, and how it comes to be. Proved by tests/adapters/test_renditions.py.

A rendition's bytes are a blob like any other (reserve, put, publish), but it belongs to its parent: no workspace holds
it or is charged for it, and it stays as long as somebody holds the parent and some policy still defines it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from service.domain.blob import MediaInfo, Sha256
from service.domain.rendition import Format
from service.ports.descriptors import ServableBytes
from service.ports.objects import Reservation


@dataclass(frozen=True, slots=True)
class RenditionKey:
    """Which rendition: of which blob, by which `Preset.definition`, in which format (never `ORIGINAL`)."""

    parent: Sha256
    definition: str
    format: Format


@dataclass(frozen=True, slots=True)
class Rendition:
    """Bytes to serve: the parent's own where the preset would make no others.

    `hold` is the HTTP status of an operator's hold of these very bytes, None where there is none; of one of the parent
    the parent's descriptor tells.
    """

    content: ServableBytes
    hold: int | None = None


@dataclass(frozen=True, slots=True)
class PublishedRendition:
    """`object_used` is False when the bytes were there already: the reserved object is condemned and may go."""

    rendition: Rendition
    object_used: bool


class Renditions(Protocol):
    """Any number of processes may call everything here at the same time. Raises `Unavailable` for a retry.

    Who may see a rendition is decided by what the asker may see of its parent, never here.
    """

    async def find(self, key: RenditionKey) -> Rendition | None:
        """The rendition, in one look without locks.

        None where it is to be made: nobody made it yet, its bytes are marked missing or corrupt, or it was collected.
        """

    async def claim(self, key: RenditionKey, claim_for: timedelta) -> bool:
        """Whether this caller is to make it now: True for one, False for the others until that one's claim ends.

        A claim ends by `publish`, by `disclaim` or after `claim_for`: a caller that dies leaves it to the next. It
        guards work, not correctness: whoever publishes without one does no harm. Committed on return. Look again once
        it is yours: the claim before may just have ended with the rendition.
        """

    async def prolong(self, key: RenditionKey, claim_for: timedelta) -> None:
        """Let this caller's claim end `claim_for` from now. Does nothing where it has ended."""

    async def disclaim(self, key: RenditionKey) -> None:
        """End this caller's claim after it could not make the rendition. Idempotent."""

    async def publish(self, key: RenditionKey, reservation: Reservation, media: MediaInfo) -> PublishedRendition:
        """Make the reserved object live as a blob and the rendition's, in one transaction, and end any claim.

        The bytes must be durable under the reservation's key. Where a blob of the same bytes exists, somebody made the
        rendition before, or the bytes are the parent's own, the object is condemned instead, due at once, and what was
        there stands; a blob that is marked is healed by the object. Raises, and nothing has changed: `NotFound` when
        nobody holds the parent by now; `OnHold` for bytes that an operator put on hold; `Unavailable` when the object
        is no longer pending.
        """

    async def count_stale(self, current: Collection[str], min_age: timedelta) -> int:
        """How many `drop_stale` would find, from an index alone; it stops at 100,000."""

    async def drop_stale(self, current: Collection[str], min_age: timedelta, limit: int) -> int:
        """Forget up to `limit` renditions that are older than `min_age` and whose definition is not a `current` one.

        Their bytes are reviewed then. Claims that ended go, too. Returns how many renditions were forgotten.
        """
