"""How long things stay without a better reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a holding stays without refs, a released ref in the trash, a pending object without its bytes."""

    holding: timedelta = timedelta(days=7)
    trash: timedelta = timedelta(days=30)
    upload: timedelta = timedelta(hours=24)
