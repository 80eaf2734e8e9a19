"""How long things stay without a better reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """`upload`: a pending object's lease; `holding`: a holding's lease without refs; `trash`: a released ref's time to be restored."""

    holding: timedelta = timedelta(days=7)
    trash: timedelta = timedelta(days=30)
    upload: timedelta = timedelta(hours=24)
