"""API keys as callers carry them: `rk_<id>_<secret>`.

The last six digits of the secret are a checksum over all before it, so that a scanner can tell a leaked key from noise
and a mistyped one costs no look-up. Only the SHA-256 of a secret is ever stored: it has 190 random bits, nothing to
guess.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from string import ascii_letters, digits
from zlib import crc32

_ALPHABET = digits + ascii_letters
_TOKEN = re.compile(r"rk_([0-9a-z]{12})_([0-9A-Za-z]{38})")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key's id, which may be shown, and its secret, which may not."""

    id: str
    secret: str = field(repr=False)

    @property
    def token(self) -> str:
        """What the caller sends after `Bearer`."""
        return f"rk_{self.id}_{self.secret}"

    @property
    def secret_hash(self) -> bytes:
        """What is stored."""
        return sha256(self.secret.encode()).digest()

    def matches(self, secret_hash: bytes) -> bool:
        """Compare with a stored hash in constant time."""
        return compare_digest(self.secret_hash, secret_hash)


def new_credentials() -> Credentials:
    """A key that nobody has seen."""
    key_id = "".join(secrets.choice(_ALPHABET[:36]) for _ in range(12))
    random = "".join(secrets.choice(_ALPHABET) for _ in range(32))
    return Credentials(key_id, random + _checksum(f"{key_id}_{random}"))


def parse_token(token: str) -> Credentials | None:
    """The credentials of a well-formed token with a right checksum, else None."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    key_id, secret = match.groups()
    return Credentials(key_id, secret) if _checksum(f"{key_id}_{secret[:-6]}") == secret[-6:] else None


def _checksum(text: str) -> str:
    number, text_digits = crc32(text.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        text_digits = _ALPHABET[digit] + text_digits
    return text_digits
