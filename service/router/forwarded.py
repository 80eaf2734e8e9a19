"""Who sent a request that came through proxies: `Forwarded` (RFC 7239) and the older `X-Forwarded-*`. Pure.

Granian's own wrapper was left aside: it knows no `Forwarded` and no host, takes any text for an address, and the first
of several schemes whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MOST_HOPS = 32
"""Longer chains are nobody's real path."""

_FIELDS = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"})
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*)")')
_ELEMENT = re.compile(rf"{_PAIR.pattern}(?:[ \t]*;[ \t]*{_PAIR.pattern})*")
_BETWEEN = re.compile(r"[ \t]*,[ \t]*")
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?")
_HIDDEN = re.compile(r"(?:unknown|_[A-Za-z0-9._-]+)(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]+))?", re.IGNORECASE)
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Malformed(ValueError):
    """A chain that cannot be read, of which nothing is believed."""


@dataclass(frozen=True, slots=True)
class Hop:
    """What a proxy tells of the request it was sent: by whom, with which scheme, to which host; None where untold."""

    sender: Address | None = None
    scheme: str | None = None
    host: str | None = None


UNTOLD = Hop()


def told_by_proxies(peer: str, headers: Iterable[tuple[bytes, bytes]], trusted: Sequence[Network]) -> Hop:
    """What is to be believed about the origin of a request that `peer` sent; names of `headers` are in lower case.

    Nothing unless `peer` is trusted. Chains are walked from the right, where the nearest proxy writes, past all who are
    trusted: the first other sender is the client, and the proxy that met it says how it was asked. What cannot be read
    is not believed; of two kinds of chains, only what they say alike, because a proxy that writes one of them may hand
    on whatever its client put into the other.
    """
    if not is_trusted(_address(peer), trusted):
        return UNTOLD
    fields = _joined(headers)
    try:
        chains = [chain for chain in (_standard(fields), _customary(fields)) if chain]
    except Malformed:
        return UNTOLD
    told = [_outermost(chain, trusted) for chain in chains]
    return _alike(told[0], told[-1]) if told else UNTOLD


def is_trusted(address: Address | None, trusted: Iterable[Network]) -> bool:
    """Whether one of the networks has the address."""
    return address is not None and any(address in network for network in trusted)


def _outermost(chain: list[Hop], trusted: Sequence[Network]) -> Hop:
    known = None
    for hop in reversed(chain):
        if hop.sender is None:  # hidden on purpose: the proxy before it is the last that has an address
            return replace(hop, sender=known)
        if not is_trusted(hop.sender, trusted):
            return hop
        known = hop.sender
    return chain[0]


def _alike(one: Hop, other: Hop) -> Hop:
    if one.sender != other.sender:
        return UNTOLD
    scheme = one.scheme if one.scheme == other.scheme else None
    return Hop(one.sender, scheme, one.host if one.host == other.host else None)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        if name in _FIELDS:
            known, text = name.decode(), value.decode("latin-1").strip(" \t")
            fields[known] = f"{fields[known]}, {text}" if known in fields else text
    return fields


def _standard(fields: dict[str, str]) -> list[Hop]:
    text, position = fields.get("forwarded", ""), 0
    hops: list[Hop] = []
    while position < len(text):
        element = _ELEMENT.match(text, position)
        if element is None or len(hops) == MOST_HOPS:
            raise Malformed
        hops.append(_hop_of(element[0]))
        position = element.end()
        if position < len(text):
            between = _BETWEEN.match(text, position)
            if between is None or between.end() == len(text):
                raise Malformed
            position = between.end()
    return hops


def _hop_of(element: str) -> Hop:
    values: dict[str, str] = {}
    for name, token, quoted in _PAIR.findall(element):
        if name.lower() in values:
            raise Malformed
        values[name.lower()] = token or re.sub(r"\\(.)", r"\1", quoted)
    node = values.get("for", "unknown")
    return Hop(_sender(node), _scheme(values.get("proto")), _host(values.get("host")))


def _customary(fields: dict[str, str]) -> list[Hop]:
    senders = [_sender(_bracketed(text)) for text in _listed(fields.get("x-forwarded-for"))]
    schemes = [_scheme(text) for text in _listed(fields.get("x-forwarded-proto"))]
    hosts = [_host(text) for text in _listed(fields.get("x-forwarded-host"))]
    if not senders and not schemes and not hosts:
        return []
    count = len(senders) or 1
    beside = zip(senders or [None], _beside(schemes, count), _beside(hosts, count), strict=True)
    return [Hop(*told) for told in beside]


def _listed(text: str | None) -> list[str]:
    items = [] if text is None else [item.strip(" \t") for item in text.split(",")]
    if len(items) > MOST_HOPS or "" in items:
        raise Malformed
    return items


def _beside(values: list[str | None], count: int) -> list[str | None]:
    """One value for each of `count` hops: as many as there are, or a single one that the outermost proxy set."""
    if len(values) == count:
        return values
    return values * count if len(values) == 1 else [None] * count


def _bracketed(text: str) -> str:
    return f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text


def _sender(node: str) -> Address | None:
    """The address of a node, None for one that hides it."""
    if _HIDDEN.fullmatch(node):
        return None
    found = _NODE.fullmatch(node)
    address = _address(found[1] or found[2]) if found else None
    if address is None:
        raise Malformed
    return address


def _scheme(text: str | None) -> str | None:
    return text.lower() if text is not None and text.lower() in {"http", "https"} else None


def _host(text: str | None) -> str | None:
    return text if text is not None and _HOST.fullmatch(text) else None


def _address(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
