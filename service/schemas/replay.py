"""What a replay says, a line of JSON each."""

from __future__ import annotations

import msgspec

from service.application.replay_log import Replayed
from service.domain.event import EntityState
from service.domain.slot import EntityKey
from service.schemas.checkpoint import StoredEntity, stored_entity
from service.schemas.events import EntityVersion, EventHolding, EventRef, stored_holding


class ReplayedEntity(msgspec.Struct, frozen=True):
    """An entity as it was: live refs by role in their order, trashed ones in the order of their release."""

    workspace: str
    entity: EntityVersion
    live: dict[str, list[EventRef]]
    trashed: list[EventRef]


class ReplayedHolding(msgspec.Struct, frozen=True):
    """Something that a workspace held."""

    workspace: str
    sha256: str
    holding: EventHolding


def replayed_document(replayed: Replayed) -> ReplayedEntity | ReplayedHolding:
    """A line."""
    if replayed.holding is not None:
        holding = replayed.holding
        return ReplayedHolding(holding.workspace, holding.sha256, stored_holding(holding))
    entity, state = replayed.entity or EntityKey("", "", ""), replayed.state or EntityState()
    stored: StoredEntity = stored_entity(state)
    version = EntityVersion(entity.type, entity.id, stored.version)
    return ReplayedEntity(entity.workspace, version, stored.live, stored.trashed)
