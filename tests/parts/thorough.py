"""How much of what takes long: as much as CI has time for, or with THOROUGH=1, as `make e2e` sets it, all of it."""

from __future__ import annotations

import os
from typing import Final

THOROUGH: Final = bool(os.environ.get("THOROUGH"))


def times(thorough: int, otherwise: int) -> int:
    """How often something is done."""
    return thorough if THOROUGH else otherwise
