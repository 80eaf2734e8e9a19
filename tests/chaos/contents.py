"""Bytes to send: many of them the same for everyone, so that workspaces, writers and collectors meet over them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.parts.blobs import noise
from tests.parts.caller import sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text

_SHARED_TEXTS, _SHARED_PICTURES = 60, 30
_LARGE = 2 * 1024 * 1024
_SHARED = 0.6


@dataclass
class Contents:
    """Everything that was ever sent, by its hash."""

    rng: random.Random
    known: dict[str, bytes] = field(default_factory=dict)
    _texts: list[bytes] = field(default_factory=list)
    _pictures: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Two of what everybody sends are large."""
        self._texts = [fresh_text(self.rng.randint(200, 40_000)) for _ in range(_SHARED_TEXTS)]
        self._texts += [noise(_LARGE, self.rng.randrange(2**31)) for _ in range(2)]
        self._pictures = [fresh_jpeg() for _ in range(_SHARED_PICTURES)]

    def pick(self, picture: bool) -> bytes:
        """What others send as well, or what nobody ever sent."""
        if self.rng.random() < _SHARED:
            return self._known(self.rng.choice(self._pictures if picture else self._texts))
        return self.fresh(picture)

    def fresh(self, picture: bool) -> bytes:
        """What nobody ever sent."""
        return self._known(fresh_jpeg() if picture else fresh_text(self.rng.randint(200, 20_000)))

    def _known(self, content: bytes) -> bytes:
        self.known[sha256_of(content)] = content
        return content
