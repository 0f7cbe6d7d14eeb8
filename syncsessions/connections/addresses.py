"""Which addresses the library may call: those of the public internet, written as everybody writes them.

Own tables and not `is_global`: what that says differs between Python's releases.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

_NOT_PUBLIC_4 = tuple(
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# Of IPv6 only what is given out: loopback, mapped, compatible, local, site-local and multicast lie outside.
_PUBLIC_6 = IPv6Network("2000::/3")
_NOT_PUBLIC_6 = (IPv6Network("2001::/23"), IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))
_SIX_TO_FOUR = IPv6Network("2002::/16")
_NAT64 = IPv6Network("64:ff9b::/96")  # how a network without IPv4 sees the sites that have nothing else

_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)


def may_be_called(text: str) -> bool:
    """Whether the address is a public one. An IPv4 address inside an IPv6 one (6to4, NAT64) is judged for itself;
    a mapped one is never public."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    inside = _inside(address)
    if inside is not None:
        return may_be_called(str(inside))
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def is_odd_number(host: str) -> bool:
    """Whether the host is a number that resolvers take for an IPv4 address and nobody writes as one:
    `2130706433`, `0x7f.1`, `0177.0.0.1`, `127.1`."""
    labels = host.removesuffix(".").split(".")
    if ":" in host or not _NUMBER.fullmatch(labels[-1]):
        return False
    try:
        IPv4Address(host.removesuffix("."))
    except ValueError:
        return True
    return False


def _inside(address: IPv6Address) -> IPv4Address | None:
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None
