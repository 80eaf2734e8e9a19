"""What a workspace's own pictures became when they were made to comply.

Proved by tests/contract/test_normalisations.py.
"""

from __future__ import annotations

from typing import Protocol

from service.domain.blob import Sha256


class Normalisations(Protocol):
    """A memory that spares work: each workspace has its own, so that nothing shows what others have sent.

    It keeps nothing alive, and forgets what it knows of a blob as soon as the workspace holds it no longer.
    """

    async def recall(self, workspace: str, sha256: Sha256, definition: str) -> Sha256 | None:
        """What the picture became by this definition: the hash of a blob that the workspace holds and that is whole.

        Its own hash where it complied as it was. None where that is not known.
        """

    async def remember(self, workspace: str, sha256: Sha256, definition: str, result: Sha256) -> None:
        """Keep it in mind while the workspace holds both. Does nothing where it holds one of them no longer."""
