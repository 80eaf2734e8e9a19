"""States as checkpoints and replays write them, made of what events are made of."""

from __future__ import annotations

from datetime import datetime

import msgspec

from service.domain.blob import Sha256
from service.domain.event import EntityState
from service.domain.hold import Hold
from service.domain.ref import Holding
from service.domain.slot import EntityKey
from service.schemas.events import (
    EventHold,
    EventHolding,
    EventRef,
    rfc3339,
    stored_holding,
    stored_ref,
    to_holding,
    to_ref,
)


class StoredEntity(msgspec.Struct, frozen=True):
    """An entity: live refs by role in their order, trashed ones in the order of their release."""

    version: int
    live: dict[str, list[EventRef]]
    trashed: list[EventRef]


class StoredHold(EventHold, frozen=True, kw_only=True):
    """A hold with the one who placed it."""

    actor: str


def stored_entity(state: EntityState) -> StoredEntity:
    """The state of an entity; a role without live refs is left out."""
    live = {role: [stored_ref(ref) for ref in refs] for role, refs in state.live.items() if refs}
    return StoredEntity(state.version, live, [stored_ref(ref) for ref in state.trashed])


def encode_entity(state: EntityState) -> str:
    """The JSON text of a state."""
    return msgspec.json.encode(stored_entity(state)).decode()


def decode_entity(entity: EntityKey, text: str) -> EntityState:
    """The state again."""
    stored = msgspec.json.decode(text, type=StoredEntity)
    live = {role: tuple(to_ref(entity, ref) for ref in refs) for role, refs in stored.live.items()}
    return EntityState(stored.version, live, tuple(to_ref(entity, ref) for ref in stored.trashed))


def encode_holding(holding: Holding) -> str:
    """The JSON text of a holding."""
    return msgspec.json.encode(stored_holding(holding)).decode()


def decode_holding(workspace: str, sha256: Sha256, text: str) -> Holding:
    """The holding again."""
    return to_holding(workspace, sha256, msgspec.json.decode(text, type=EventHolding))


def encode_hold(hold: Hold) -> str:
    """The JSON text of a hold."""
    stored = StoredHold(hold.kind, hold.status, rfc3339(hold.placed_at), hold.reason, actor=hold.actor)
    return msgspec.json.encode(stored).decode()


def decode_hold(sha256: Sha256, text: str) -> Hold:
    """The hold again."""
    stored = msgspec.json.decode(text, type=StoredHold)
    placed_at = datetime.fromisoformat(stored.placed_at)
    return Hold(sha256, stored.kind, stored.status, stored.reason, stored.actor, placed_at)
