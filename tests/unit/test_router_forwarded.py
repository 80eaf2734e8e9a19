"""Whom a request came from: chains of proxies, honest and forged (RFC 7239)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.router.forwarded import MOST_HOPS, UNTOLD, Hop, is_trusted, told_by_proxies

NEAR, FAR, CLIENT, FORGED = "10.0.0.1", "10.0.0.2", "203.0.113.7", "198.51.100.9"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def told(*headers: tuple[str, str], peer: str = NEAR) -> Hop:
    return told_by_proxies(peer, [(name.encode(), value.encode("latin-1")) for name, value in headers], TRUSTED)


def hop(sender: str | None, scheme: str | None = None, host: str | None = None) -> Hop:
    return Hop(None if sender is None else ip_address(sender), scheme, host)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (f"for={CLIENT}", hop(CLIENT)),
        (f'For={CLIENT};Proto=HTTPS;Host="media.example:8443";by=10.0.0.1', hop(CLIENT, "https", "media.example:8443")),
        (f"for={CLIENT};proto=ftp", hop(CLIENT)),
        (f'for={CLIENT};host="a b"', hop(CLIENT)),
        (f'for="{CLIENT}:4711"', hop(CLIENT)),
        (f'for="{CLIENT}:_hidden"', hop(CLIENT)),
        ('for="[2001:db8::1]"', hop("2001:db8::1")),
        ('for="[2001:db8::1]:80"', hop("2001:db8::1")),
        ('for="[::ffff:203.0.113.7]"', hop(CLIENT)),
        ('for="\\203.0.113.7"', hop(CLIENT)),
        (f"for={CLIENT};proto=https, for={FAR};proto=http", hop(CLIENT, "https")),
        (f"for={FORGED};proto=https;host=evil, for={CLIENT};proto=http, for={FAR}", hop(CLIENT, "http")),
        (f"for={FAR};proto=https, for=10.9.9.9", hop(FAR, "https")),
        ("for=unknown;proto=https", hop(None, "https")),
        (f"for=_secret;proto=https, for={FAR}", hop(FAR, "https")),
        (f"for={FORGED}, for=_secret, for={FAR}", hop(FAR)),
        ("proto=https", hop(None, "https")),
    ],
)
def test_forwarded_is_walked_from_the_right_past_those_who_are_trusted(value: str, expected: Hop) -> None:
    assert told(("forwarded", value)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-forwarded-for": CLIENT}, hop(CLIENT)),
        ({"x-forwarded-for": f"{FORGED}, {CLIENT},{FAR}"}, hop(CLIENT)),
        ({"x-forwarded-for": f"{CLIENT}:4711"}, hop(CLIENT)),
        ({"x-forwarded-for": "2001:db8::1"}, hop("2001:db8::1")),
        ({"x-forwarded-for": "[2001:db8::1]:80"}, hop("2001:db8::1")),
        ({"x-forwarded-for": f"{CLIENT}, fd00::1"}, hop(CLIENT)),
        ({"x-forwarded-for": CLIENT, "x-forwarded-proto": "https"}, hop(CLIENT, "https")),
        ({"x-forwarded-for": f"{CLIENT}, {FAR}", "x-forwarded-proto": "https, http"}, hop(CLIENT, "https")),
        ({"x-forwarded-for": f"{FORGED}, {CLIENT}", "x-forwarded-proto": "https"}, hop(CLIENT, "https")),
        ({"x-forwarded-for": f"{FORGED}, {CLIENT}, {FAR}", "x-forwarded-proto": "https, http"}, hop(CLIENT)),
        ({"x-forwarded-for": CLIENT, "x-forwarded-host": "media.example"}, hop(CLIENT, None, "media.example")),
        ({"x-forwarded-for": CLIENT, "x-forwarded-host": "evil/<>"}, hop(CLIENT)),
        ({"x-forwarded-proto": "https"}, hop(None, "https")),
    ],
)
def test_the_customary_headers_are_walked_alike(headers: dict[str, str], expected: Hop) -> None:
    assert told(*headers.items()) == expected


def test_lines_of_one_name_are_one_chain() -> None:
    assert told(("x-forwarded-for", FORGED), ("x-forwarded-for", CLIENT), ("x-forwarded-for", FAR)) == hop(CLIENT)


@pytest.mark.parametrize("peer", [CLIENT, "2001:db8::1", "::1", "not an address", ""])
def test_nobody_else_is_believed(peer: str) -> None:
    every = (
        ("forwarded", f"for={FORGED};proto=https;host=evil"),
        ("x-forwarded-for", FORGED),
        ("x-forwarded-proto", "https"),
    )
    assert told(*every, peer=peer) == UNTOLD


def test_a_trusted_peer_may_be_spelled_as_ipv6() -> None:
    assert told(("x-forwarded-for", CLIENT), peer=f"::ffff:{NEAR}") == hop(CLIENT)


@pytest.mark.parametrize(
    "value",
    [
        "", ",", f"for={CLIENT},", f",for={CLIENT}", f"for={CLIENT};", f"for = {CLIENT}", f"for={CLIENT} proto=https",
        "for=2001:db8::1", "for=[2001:db8::1]", f"for={CLIENT};for={FORGED}", 'for="203.0.113.7', "for=nobody", "for=",
        "for=203.0.113.999", f"{CLIENT}", f"for={CLIENT}, nonsense", "for=\x00",
        ", ".join([f"for={CLIENT}"] * (MOST_HOPS + 1)),
    ],
)  # fmt: skip
def test_a_chain_that_cannot_be_read_tells_nothing(value: str) -> None:
    assert told(("forwarded", value)) == UNTOLD
    assert told(("forwarded", f"for={FORGED}"), ("forwarded", value or ",")) == UNTOLD


@pytest.mark.parametrize(
    "value",
    ["nobody", f"{CLIENT},", f",{CLIENT}", f"{CLIENT} {FORGED}", "203.0.113.999", '"203.0.113.7"', "203.0.113.7:port",
     ", ".join([CLIENT] * (MOST_HOPS + 1))],
)  # fmt: skip
def test_a_customary_chain_that_cannot_be_read_tells_nothing(value: str) -> None:
    assert told(("x-forwarded-for", value), ("x-forwarded-proto", "https")) == UNTOLD


def test_of_two_kinds_of_chains_only_what_they_say_alike_is_believed() -> None:
    forged = ("forwarded", f"for={FORGED};proto=https")
    assert told(forged, ("x-forwarded-for", CLIENT)) == UNTOLD
    mixed = ("forwarded", f"for={CLIENT};proto=https;host=evil")
    assert told(mixed, ("x-forwarded-for", CLIENT), ("x-forwarded-proto", "https")) == hop(CLIENT, "https")


_addresses = st.ip_addresses().map(str)
_chain = st.lists(_addresses, max_size=8)


@given(before=_chain, client=_addresses, proxies=st.lists(st.sampled_from([NEAR, FAR, "fd00::1"]), max_size=5))
def test_nothing_that_stands_before_the_client_changes_who_it_is(
    before: list[str], client: str, proxies: list[str]
) -> None:
    chain = [*before, client, *proxies]
    standard = ", ".join(f'for="[{node}]"' if ":" in node else f"for={node}" for node in chain)
    found = told(("forwarded", standard)).sender
    assert found == told(("x-forwarded-for", ", ".join(chain))).sender
    address = getattr(ip_address(client), "ipv4_mapped", None) or ip_address(client)
    assert found == address or is_trusted(address, TRUSTED)


@given(value=st.text(st.characters(max_codepoint=255)))
def test_no_text_breaks_it_and_what_is_told_can_be_used(value: str) -> None:
    for name in ("forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"):
        found = told((name, value), ("x-forwarded-for", CLIENT))
        assert found.scheme in {None, "http", "https"}
        assert found.host is None or found.host.isascii()
