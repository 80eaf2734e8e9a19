"""Which addresses belong to the public Internet: a fetch of a URL that others wrote goes nowhere else."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

# Written out, since what the standard library calls global differs from one release of Python to the next: the special
# purpose registries of IANA (RFC 6890), multicast, and an address of a cloud's own that looks like anybody's.
_SPECIAL_4 = [
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # what Azure's machines ask about themselves
    )
]  # fmt: skip
_GLOBAL_6 = IPv6Network("2000::/3")
_SPECIAL_6 = [
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether an address, as a resolver or a URL has it, is one of the public Internet.

    False for what is private, loopback, link-local, shared (CGNAT), multicast, reserved, of a cloud's metadata, and for
    what is no address at all. An IPv4 address within an IPv6 one (mapped, NAT64) is judged by itself; tunnels (6to4,
    Teredo) lead nobody knows where and are not public. A zone (`fe80::1%eth0`) is never public.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        return _is_public_6(address)
    return not any(address in network for network in _SPECIAL_4)


def _is_public_6(address: IPv6Address) -> bool:
    if address.scope_id is not None:
        return False
    inner = address.ipv4_mapped
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if inner is not None:
        return is_public(str(inner))
    return address in _GLOBAL_6 and not any(address in network for network in _SPECIAL_6)
