"""Requests that no handler should see: another spelling of a path, headers that two readers read differently."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from service.router.paths import is_canonical

_SINGLE = frozenset({b"authorization", b"content-type", b"host", b"idempotency-key", b"range", b"workspace"})
_RELEVANT = _SINGLE | {b"transfer-encoding"}
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
RawHeaders = Iterable[tuple[bytes, bytes]]


def refusal_of(raw_path: bytes, http_version: str, headers: RawHeaders) -> tuple[str, str] | None:
    """The code and the sentence of a request that goes no further, else None; names are in lower case."""
    if not is_canonical(raw_path):
        return "not-found", "Nothing is here: a path has one spelling, without percent-encoding."
    relevant = [header for header in headers if header[0] in _RELEVANT]
    if len(relevant) == 1 and relevant[0][0] == b"host" and _HOST.fullmatch(relevant[0][1]):
        return None
    fault = _fault_of(http_version, relevant)
    return None if fault is None else ("bad-request", fault)


def _fault_of(http_version: str, headers: list[tuple[bytes, bytes]]) -> str | None:
    counts = Counter(name for name, _ in headers)
    hosts = [value for name, value in headers if name == b"host" and value]  # Granian adds an empty one to none
    if not hosts and http_version == "1.1":
        return "Host is missing (RFC 9112 §3.2)."
    if repeated := sorted(name.decode() for name in _SINGLE if counts[name] > 1):
        return f"{repeated[0].title()} is there twice."
    if any(_HOST.fullmatch(host) is None for host in hosts):
        return "Host is no name or address with a port (RFC 9110 §7.2)."
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        return "The only transfer coding understood here is chunked (RFC 9112 §6.1)."
    return None
