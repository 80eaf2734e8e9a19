"""Addresses that show private bytes to whoever has them, for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import time
from uuid import UUID

from service.domain.errors import SigningDisabled
from service.domain.signature import Signatures, end_of


@dataclass(frozen=True, slots=True)
class SignedFile:
    """The path and query of a ref's bytes, good until `expires_at` (UTC), a release or a hold."""

    ref_id: UUID
    target: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs files by their refs; nothing is stored, and every replica verifies by the same keys."""

    signatures: Signatures
    clock: Callable[[], float] = time

    def sign(self, ref_id: UUID, lifetime: timedelta) -> SignedFile:
        """Sign the file of a ref that its asker may read. Raises `SigningDisabled`."""
        if not self.signatures.keys:
            raise SigningDisabled
        path, expires = f"/media/{ref_id}/file", end_of(self.clock(), lifetime)
        target = f"{path}?{self.signatures.sign(path, expires)}"
        return SignedFile(ref_id, target, datetime.fromtimestamp(expires, UTC))
