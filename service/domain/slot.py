"""Entities and the slots that refs fill."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.domain.errors import BadName

MAX_POSITION = 999_999_999

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ENTITY_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,199}")
_POSITION = re.compile(r"0|[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True, order=True)
class EntityKey:
    """What the caller owns: book 42 of a workspace."""

    workspace: str
    type: str
    id: str


@dataclass(frozen=True, slots=True, order=True)
class SlotKey:
    """The place a ref fills; `position` is 0…n-1 among the live refs of one role."""

    entity_type: str
    entity_id: str
    role: str
    position: int


def parse_name(text: str, what: str) -> str:
    """Return an entity type or a role; raise `BadName`, naming `what`, unless `[a-z][a-z0-9_]{0,63}`."""
    return _matching(_NAME, text, what)


def parse_entity_id(text: str) -> str:
    """Return an entity id; raise `BadName` unless `[A-Za-z0-9][A-Za-z0-9._~:@-]{0,199}`."""
    return _matching(_ENTITY_ID, text, "entity_id")


def parse_position(text: str) -> int:
    """Return a position; raise `BadName` unless `0|[1-9][0-9]{0,8}`."""
    return int(_matching(_POSITION, text, "position"))


def _matching(pattern: re.Pattern[str], text: str, what: str) -> str:
    if pattern.fullmatch(text) is None:
        raise BadName(what, text, pattern.pattern)
    return text
