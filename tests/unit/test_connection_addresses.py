"""Which addresses may be called, and which spellings of them are refused."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsessions.connections.addresses import is_odd_number, may_be_called

PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "223.255.255.254", "100.63.255.255", "100.128.0.1", "172.15.0.1"]
PUBLIC_6 = ["2606:4700:4700::1111", "2a00:1450:4001:800::200e", "2400:cb00::1", "64:ff9b::808:808", "2002:808:808::1"]
NOT_PUBLIC = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "private": ["10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"],
    "shared (CGNAT)": ["100.64.0.1", "100.127.255.255", "100.100.100.200"],
    "loopback": ["127.0.0.1", "127.1.2.3", "127.255.255.255"],
    "link-local": ["169.254.169.254", "169.254.0.1"],
    "multicast": ["224.0.0.1", "239.255.255.255"],
    "reserved": ["240.0.0.1", "255.255.255.255", "192.0.0.1", "192.0.0.192", "192.88.99.1"],
    "documentation, benchmarks": ["192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1", "198.19.255.255"],
}
NOT_PUBLIC_6 = {
    "unspecified, loopback": ["::", "::1", "0:0:0:0:0:0:0:1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8"],
    "compatible": ["::127.0.0.1", "::8.8.8.8", "::a00:1"],
    "translated": ["::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"],
    "NAT64 of a private one": [
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::808:808",
    ],
    "6to4 of a private one": ["2002:7f00:1::1", "2002:a00:1::", "2002:c0a8:101::1", "2002:a9fe:a9fe::1"],
    "Teredo": ["2001:0:7f00:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "unique local": ["fc00::1", "fd00:ec2::254", "fdff::1"],
    "link-local": ["fe80::1", "fe80::1%eth0", "febf::1"],
    "site-local": ["fec0::1", "feff::1"],
    "multicast": ["ff02::1", "ff0e::1"],
    "documentation, discard and what is given to nobody": ["2001:db8::1", "3fff::1", "100::1", "4000::1", "5f00::1"],
}


@pytest.mark.parametrize("address", PUBLIC + PUBLIC_6)
def test_public_addresses_may_be_called(address: str) -> None:
    assert may_be_called(address)


@pytest.mark.parametrize(
    "address", [address for kinds in (NOT_PUBLIC, NOT_PUBLIC_6) for some in kinds.values() for address in some]
)
def test_no_other_addresses_may_be_called(address: str) -> None:
    assert not may_be_called(address)


@pytest.mark.parametrize(
    "text", ["", "localhost", "127.1", "0177.0.0.1", "2130706433", "1.2.3.4.5", "[::1]", "1.1.1.1/8"]
)
def test_what_is_no_address_may_not_be_called(text: str) -> None:
    assert not may_be_called(text)


@given(st.ip_addresses())
def test_what_may_be_called_is_never_what_python_knows_as_special(address: object) -> None:
    if not may_be_called(str(address)):
        return
    found = ipaddress.ip_address(str(address))
    if found in ipaddress.ip_network("2002::/16"):  # Python does not look into these
        return
    assert not (found.is_private or found.is_loopback or found.is_link_local or found.is_multicast)
    assert not (found.is_reserved or found.is_unspecified) or str(found).startswith("64:ff9b::")


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_as_public_as_alone(address: ipaddress.IPv4Address) -> None:
    alone = may_be_called(str(address))
    assert may_be_called(f"64:ff9b::{address}") is alone
    assert may_be_called(str(ipaddress.IPv6Address((0x2002 << 112) + (int(address) << 80) + 1))) is alone
    assert not may_be_called(f"::ffff:{address}")
    assert not may_be_called(f"::{address}")


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0X7F000001", "017700000001", "0", "0x0"),
        *("127.1", "127.0.1", "0x7f.1", "0177.0.0.1", "127.0.0.01", "0x7f.0.0.0x1", "0x7F.0.0.1", "127.1."),
        *("8.8.2056", "1.1.1.1.1", "256.1.1.1", "999999999999", "foo.1", "foo.0x1", "0x"),
    ],
)
def test_numbers_that_only_a_resolver_takes_for_addresses_are_odd(host: str) -> None:
    assert is_odd_number(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "8.8.8.8",
        "8.8.8.8.",
        "b.example",
        "1.example",
        "0x7f.example",
        "::1",
        "x1",
        "1x",
        "beef",
        "é1",
        "::ffff:127.0.0.1",
    ],
)
def test_names_and_plain_addresses_are_not(host: str) -> None:
    assert not is_odd_number(host)


@given(st.integers(0, 2**32 - 1), st.sampled_from([str, hex, lambda number: f"0{number:o}"]))
def test_whatever_the_resolver_takes_for_an_address_is_plain_or_odd(number: int, spelled: object) -> None:
    host = spelled(number)  # type: ignore[operator]
    assert socket.inet_aton(host)
    assert is_odd_number(host)
