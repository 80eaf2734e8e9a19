"""Holds: an operator's word that bytes are neither served nor removed, nor taken again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from unicodedata import category

from service.domain.blob import Sha256
from service.domain.errors import BadName


def parse_reason(text: str) -> str:
    """Why there is a hold, without surrounding space; raise `BadName` where nothing is said or can be shown."""
    reason = text.strip()
    if not reason or any(category(character) in {"Cc", "Cs"} for character in text):
        raise BadName("reason", text)
    return reason


class HoldKind(StrEnum):
    """Why: they may do harm, or the law asks for it."""

    QUARANTINE = "quarantine"
    LEGAL = "legal"

    @property
    def usual_status(self) -> int:
        """What readers get unless the operator says otherwise: suspected bytes are not there, forbidden ones are."""
        return 404 if self is HoldKind.QUARANTINE else 451


@dataclass(frozen=True, slots=True)
class Hold:
    """`status` is the HTTP status that readers get, 404 or 451; `reason` is None in a copy that a workspace reads.

    `actor` placed it, or changed it last.
    """

    sha256: Sha256
    kind: HoldKind
    status: int
    reason: str | None
    actor: str
    placed_at: datetime
