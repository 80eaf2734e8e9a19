"""How much workspaces use, beyond what is charged to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Drift:
    """A workspace whose row says another use than its holdings add up to: a defect, or somebody's hand."""

    slug: str
    charged_bytes: int
    charged_items: int
    held_bytes: int
    held_items: int


class Space(Protocol):
    """Counts; each call reads all holdings that it is about, in one snapshot."""

    async def recount(self, slug: str) -> None:
        """Charge the workspace what it holds, whatever it was charged; nobody who changes that waits for the count."""

    async def physical_bytes(self, slug: str) -> int:
        """This workspace's share of the store: each blob's bytes divided among those who hold it, rounded.

        The shares of all workspaces add up to the bytes of all blobs. It tells of others: for operators alone.
        """

    async def drifted(self) -> Sequence[Drift]:
        """Every workspace whose charged use is wrong, by slug."""
