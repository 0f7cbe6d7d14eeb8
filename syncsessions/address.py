"""Which address a client has: the socket's peer or, behind trusted proxies, the one that they name; and what limits
count it by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Literal, NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNIX: Literal["unix"] = "unix"
"""Stands in TRUSTED_PROXIES for whoever comes by a Unix socket."""
UNKNOWN = "unknown"
"""What clients without an address are counted by, all together."""
MOST_HOPS = 32
LONGEST = 64  # characters of one address, its port and zone included

_PRIVATE: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"),
        *("::1/128", "fc00::/7", "fe80::/10"),
    )
)
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::[0-9]{1,5})?|([^:]+):[0-9]{1,5}")
_UNIX_PEER = ("/", "unix:")  # what servers say of one: nothing, or the socket's path


class Client(NamedTuple):
    """`address` as text, None where there is none to be known; `disbelieved` where a private or Unix peer that is not
    trusted sent a forwarded header: it is a proxy, perhaps, and all its clients are taken for one."""

    address: str | None
    disbelieved: bool


class _Trust(NamedTuple):
    networks: tuple[Network, ...]
    unix: bool

    def covers(self, hop: Address | Literal["unix"] | None) -> bool:
        return self.unix if hop == UNIX else hop is not None and _is_in(hop, self.networks)


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Iterable[object]) -> Client:
    """The client behind `peer`, the socket's other end (None or empty for a Unix socket).

    `forwarded` holds the X-Forwarded-For headers in their order, `trusted` the networks whose word is taken, and
    "unix". The header is read from its end, where the nearest proxy wrote: past trusted hops to the first that is
    not, which is the client. What is no address ends the reading at the hop before. Takes anything, raises nothing.
    """
    trust = _trust(tuple(map(str, trusted)))
    hop = UNIX if not peer or peer.startswith(_UNIX_PEER) else _hop(peer)
    address = None if hop == UNIX else hop
    if not trust.covers(hop):
        proxy_like = hop == UNIX or (hop is not None and _is_in(hop, _PRIVATE))
        return Client(_text(address), proxy_like and any(value.strip() for value in forwarded))
    for entry in reversed(",".join(forwarded).rsplit(",", MOST_HOPS)):
        hop = _hop(entry)
        if hop is None:
            break
        if hop != UNIX:
            address = hop
        if not trust.covers(hop):
            break
    return Client(_text(address), False)


def limit_key(address: str | None) -> str:
    """What limits count a client by: an IPv4 address, an IPv6 one's /64 network, one word for all that have neither."""
    found = None if address is None else _address(address)
    if found is None:
        return UNKNOWN
    return str(found) if isinstance(found, IPv4Address) else str(IPv6Network((int(found) >> 64 << 64, 64)))


@lru_cache(maxsize=16)
def _trust(trusted: tuple[str, ...]) -> _Trust:
    networks = (_network(text.strip()) for text in trusted)
    return _Trust(tuple(network for network in networks if network is not None), UNIX in trusted)


def _network(text: str) -> Network | None:
    """None for what is no network: a system check says so, a socket must not fail of it."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        return None
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped:
        return IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return found


def _hop(text: str) -> Address | Literal["unix"] | None:
    """An address with or without a port, or nginx's word for a Unix socket; None for anything else."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if text in (UNIX, "unix:"):
        return UNIX
    with_port = _WITH_PORT.fullmatch(text)
    return _address(with_port[1] or with_port[2] if with_port else text)


def _address(text: str) -> Address | None:
    """An address without its zone, which means something on its own machine only; IPv4 in IPv6's clothes is IPv4."""
    try:
        found = ip_address(text.partition("%")[0] if ":" in text else text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
