"""Where the bytes of an import come from: files, data: URLs, addresses on the Internet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import ClassVar, Protocol

from service.domain.importing import Location


class SourceFailed(Exception):
    """The bytes cannot be had; `str(error)` is a sentence for a person. `may_pass`: another attempt may succeed."""

    code: ClassVar[str] = "source-failed"
    outcome: ClassVar[str] = "rejected"

    def __init__(self, sentence: str, *, may_pass: bool = False) -> None:
        super().__init__(sentence)
        self.may_pass = may_pass


class SourceRefused(SourceFailed):
    """The bytes are not to be had from there: outside the root, a host that is not allowed, a private address."""

    code = "source-refused"


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """Bytes as they come; `declared` is how many they say they are, None where nobody says."""

    chunks: AsyncIterator[bytes]
    declared: int | None = None


class Sources(Protocol):
    """Opens what a manifest names."""

    def vet(self, location: Location) -> None:
        """Say what can be said without touching it. Raises `SourceRefused`, `SourceFailed`."""

    def open(self, location: Location) -> AbstractAsyncContextManager[OpenedSource]:
        """Its bytes, for as long as the block runs; reading them raises `SourceFailed` where they end too early.

        Raises `SourceRefused` and `SourceFailed` on the way in.
        """
