"""What the values of settings look like: pure functions from text, each raising `ValueError` for any other form."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from service.domain.signature import SigningKey

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")

_AMOUNT = r"([0-9]+(?:\.[0-9]+)?)\s*"
_DURATION = re.compile(_AMOUNT + r"(ms|s|m|h|d)?")
_SIZE = re.compile(_AMOUNT + r"(B|[KMGT]i?B)?")
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40} | {
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_MAX_DURATION = timedelta(days=36500)
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_MIN_KEY_BYTES = 16
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def duration(text: str) -> timedelta:
    """`7d`, `24h`, `90m`, `60s`, `250ms`; a bare number is seconds; at most 36500 days."""
    amount, unit = _amount_of(_DURATION, text)
    seconds = amount * _SECONDS[unit or "s"]
    if seconds > _MAX_DURATION.total_seconds():
        raise ValueError(text)
    return timedelta(microseconds=int(seconds * 1_000_000))


def positive_duration(text: str) -> timedelta:
    """A duration greater than zero."""
    if not (value := duration(text)):
        raise ValueError(text)
    return value


def size(text: str) -> int:
    """`5 GiB`, `512KiB`, `10 MB`; a bare number is bytes; a whole number of bytes, 1 B to 1024 TiB."""
    amount, unit = _amount_of(_SIZE, text)
    value = amount * _BYTES[unit or "B"]
    if not 1 <= value <= 2**50 or value != int(value):
        raise ValueError(text)
    return int(value)


def integer(minimum: int, maximum: int) -> Callable[[str], int]:
    """Decimal digits within the bounds, both included."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not minimum <= int(text) <= maximum:
            raise ValueError(text)
        return int(text)

    return read


def boolean(text: str) -> bool:
    """`true` or `false`, `1` or `0`, `yes` or `no`, `on` or `off`, in any case."""
    if (value := _BOOLEANS.get(text.lower())) is None:
        raise ValueError(text)
    return value


def one_of(*values: str) -> Callable[[str], str]:
    """One of the words."""

    def read(text: str) -> str:
        if text not in values:
            raise ValueError(text)
        return text

    return read


def words(text: str) -> str:
    """Any text but the empty one."""
    if not text:
        raise ValueError(text)
    return text


def path(text: str) -> Path:
    """A path; `~` is the home folder."""
    try:
        return Path(words(text)).expanduser()
    except RuntimeError as error:  # of a user that is none
        raise ValueError(text) from error


def list_of(read: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Items separated by commas; the empty text is the empty list."""

    def read_all(text: str) -> tuple[T, ...]:
        return tuple(read(item.strip()) for item in text.split(",")) if text else ()

    return read_all


def url(*schemes: str) -> Callable[[str], str]:
    """An absolute URL of one of the schemes, without its trailing slashes."""

    def read(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in schemes or not (parts.netloc or parts.query):
            raise ValueError(text)
        _check_ports(parts.netloc)
        return text.rstrip("/")

    return read


def endpoint(text: str) -> str:
    """An absolute http or https URL of a server alone: no user, whose password would be sent nowhere and be shown."""
    parts = urlsplit(text)
    if "@" in text or parts.query or parts.fragment:
        raise ValueError(text)
    return url("http", "https")(text)


def _check_ports(places: str) -> None:
    for place in places.rpartition("@")[2].split(","):
        _ = urlsplit(f"//{place}").port  # raises ValueError for what is no port


def database_url(text: str) -> str:
    """`postgresql://user:password@host:port/database`, of one host or several, separated by commas.

    A password whose `/`, `?` or `#` is written as it is would be taken for a port or a name of a database, and shown.
    """
    parts = urlsplit(text)
    if "@" in parts.path or parts.fragment:
        raise ValueError(text)
    return url("postgresql", "postgres")(text)


def origin(text: str) -> str:
    """`*`, or a web origin (RFC 6454 §6.2): `https://example.org`, with a port where it is not the scheme's own."""
    parts = urlsplit(text)
    if text != "*" and (parts.scheme not in {"http", "https"} or text != f"{parts.scheme}://{parts.netloc}"):
        raise ValueError(text)
    return text.lower()


def network(text: str) -> Network:
    """An IP address or a network in CIDR notation."""
    return ipaddress.ip_network(text, strict=False)


def signing_key(text: str) -> SigningKey:
    """`id:base64`, the id `[A-Za-z0-9_-]{1,32}`, the secret at least 16 bytes."""
    key_id, _, encoded = text.partition(":")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        secret = b""
    if _KEY_ID.fullmatch(key_id) is None or len(secret) < _MIN_KEY_BYTES:
        raise ValueError
    return SigningKey(key_id, secret)


def _amount_of(form: re.Pattern[str], text: str) -> tuple[Decimal, str | None]:
    match = form.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return Decimal(match[1]), match[2]
