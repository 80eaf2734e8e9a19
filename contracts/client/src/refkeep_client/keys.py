"""What refs belong to, as their callers name it. Refkeep judges the spelling; these are only carried."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class EntityKey:
    """What the caller owns: book 42."""

    entity_type: str
    entity_id: str

    def role(self, role: str) -> RoleKey:
        """What it shows in one role: the cover of book 42."""
        return RoleKey(self.entity_type, self.entity_id, role)

    def slot(self, role: str, position: int = 0) -> SlotKey:
        """One place of a role."""
        return SlotKey(self.entity_type, self.entity_id, role, position)


@dataclass(frozen=True, slots=True, order=True)
class RoleKey:
    """All places of one role of an entity: the illustrations of book 42."""

    entity_type: str
    entity_id: str
    role: str

    @property
    def entity(self) -> EntityKey:
        """Whose role it is."""
        return EntityKey(self.entity_type, self.entity_id)

    def slot(self, position: int = 0) -> SlotKey:
        """One place of it."""
        return SlotKey(self.entity_type, self.entity_id, self.role, position)


@dataclass(frozen=True, slots=True, order=True)
class SlotKey:
    """The place a ref fills. A single role has position 0 alone, a list those from 0 to n - 1."""

    entity_type: str
    entity_id: str
    role: str
    position: int = 0

    @property
    def entity(self) -> EntityKey:
        """Whose slot it is."""
        return EntityKey(self.entity_type, self.entity_id)

    @property
    def role_key(self) -> RoleKey:
        """The role that it is a place of."""
        return RoleKey(self.entity_type, self.entity_id, self.role)


AnyKey = EntityKey | RoleKey | SlotKey
