"""Which address a client has: no header moves it but a trusted proxy's, and no header breaks it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncsessions.address import MOST_HOPS, UNKNOWN, Client, client_address, limit_key

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]
PEERS = [None, "", "127.0.0.1", "10.0.0.1", "9.9.9.9", "::1", "2001:db8:ffff::1", "2001:db8::1", "fe80::1%eth0", "junk"]

addresses = st.ip_addresses().map(str)
outsiders = addresses.filter(lambda text: all(ip_address(text) not in ip_network(net) for net in PROXIES)).filter(
    lambda text: not text.lower().startswith("::ffff:")
)
hops = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="2001:db8:ffff::/48")).map(str)
headers = st.lists(
    st.one_of(
        st.text(max_size=80),
        st.text("0123456789abcdef.:[]%, \t", max_size=80),
        st.lists(st.one_of(addresses, st.just("unknown"), st.just("")), max_size=5).map(", ".join),
    ),
    max_size=4,
)


@given(peer=st.one_of(st.sampled_from(PEERS), addresses), forwarded=headers)
@example(peer="9.9.9.9", forwarded=["1.2.3.4"])
def test_without_trusted_proxies_a_header_gains_nothing(peer: str | None, forwarded: list[str]) -> None:
    assert client_address(peer, forwarded, []).address == client_address(peer, [], []).address


@given(peer=st.one_of(st.sampled_from(PEERS), addresses, st.text(max_size=30)), forwarded=headers)
@example(peer="10.0.0.1", forwarded=["," * 10_000])
@example(peer="10.0.0.1", forwarded=["1" * 100_000])
@example(peer="10.0.0.1", forwarded=["10.0.0.1," * 1_000])
@example(peer="10.0.0.1", forwarded=["[::1%" + "x" * 300])
@example(peer="10.0.0.1", forwarded=["[" * 100, "]" * 100])
@example(peer="10.0.0.1", forwarded=["\x00\ud800"])
def test_no_header_breaks_it(peer: str | None, forwarded: list[str]) -> None:
    found = client_address(peer, forwarded, [*PROXIES, "unix"])
    assert found.address is None or str(ip_address(found.address)) == found.address
    key = limit_key(found.address)
    assert 0 < len(key) <= 200
    assert limit_key(key.removesuffix("/64")) == key


@given(client=outsiders, spoofed=headers, behind=st.lists(hops, max_size=6), cut=st.integers(0, 6))
def test_what_stands_left_of_the_client_is_ignored(
    client: str, spoofed: list[str], behind: list[str], cut: int
) -> None:
    """The client sends what it likes; each proxy appends whom it was called by, some in a header of their own."""
    entries = [client, *behind]
    written = [*spoofed, ", ".join(entries[:cut]), ", ".join(entries[cut:])]
    written = [*spoofed, *(value for value in written[len(spoofed) :] if value)]
    found = client_address("10.0.0.1", written, PROXIES)
    assert found == Client(str(ip_address(client)), False)


@given(behind=st.lists(hops, min_size=1, max_size=6))
def test_where_all_hops_are_trusted_the_farthest_is_the_client(behind: list[str]) -> None:
    assert client_address("10.0.0.1", [",".join(behind)], PROXIES).address == behind[0]


@pytest.mark.parametrize(
    "junk", ["unknown", "_hidden", "for=1.2.3.4", "", "  ", "1.2.3", "1.2.3.4.5", "a.example", "unix:"]
)
@pytest.mark.parametrize("left", ["", "1.2.3.4, "])
def test_junk_ends_the_walk_at_the_nearest_trusted_hop(junk: str, left: str) -> None:
    assert client_address("10.0.0.1", [f"{left}{junk}, 10.0.0.3, 10.0.0.2"], PROXIES).address == "10.0.0.3"
    assert client_address("10.0.0.1", [f"{left}{junk}"], PROXIES).address == "10.0.0.1"


@pytest.mark.parametrize(
    ("entry", "address"),
    [
        ("1.2.3.4:567", "1.2.3.4"),
        ("[2001:db8::5]:80", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("2001:DB8:0:0::5", "2001:db8::5"),
        ("fe80::5%eth0", "fe80::5"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("[::ffff:1.2.3.4]:99", "1.2.3.4"),
        ("\t1.2.3.4 ", "1.2.3.4"),
    ],
)
def test_spellings_of_addresses(entry: str, address: str) -> None:
    assert client_address("10.0.0.1", [entry], PROXIES) == Client(address, False)
    assert client_address(entry.strip(), [], []) == Client(address, False)


def test_more_hops_than_any_site_has_are_not_walked() -> None:
    entries = ["1.2.3.4", *["10.0.0.9"] * (MOST_HOPS + 1)]
    assert client_address("10.0.0.1", [",".join(entries[:-1])], PROXIES).address == "1.2.3.4"
    assert client_address("10.0.0.1", [",".join(entries)], PROXIES).address == "10.0.0.9"


@pytest.mark.parametrize("peer", [None, "", "/run/site.sock", "unix:", "unix:/run/site.sock"])
def test_a_unix_socket(peer: str | None) -> None:
    assert client_address(peer, [], []) == Client(None, False)
    assert client_address(peer, ["1.2.3.4"], []) == Client(None, True)
    assert client_address(peer, ["1.2.3.4"], ["unix"]) == Client("1.2.3.4", False)
    assert client_address(peer, ["1.2.3.4, 10.0.0.2, unix:"], ["unix", "10.0.0.0/8"]) == Client("1.2.3.4", False)
    assert client_address(peer, ["junk"], ["unix"]) == Client(None, False)


@pytest.mark.parametrize(
    ("peer", "suspicious"),
    [
        *[(peer, True) for peer in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.0.1", "192.168.0.1", "169.254.0.1"]],
        *[(peer, True) for peer in ["::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1"]],
        *[(peer, False) for peer in ["8.8.8.8", "172.32.0.1", "2001:db8::1", "::ffff:8.8.8.8", "testclient"]],
    ],
)
def test_a_header_from_a_private_peer_is_disbelieved(peer: str, suspicious: bool) -> None:
    assert client_address(peer, ["1.2.3.4"], []).disbelieved == suspicious
    assert not client_address(peer, [], []).disbelieved
    assert not client_address(peer, ["", " "], []).disbelieved
    assert not client_address(peer, ["1.2.3.4"], ["0.0.0.0/0", "::/0"]).disbelieved


@pytest.mark.parametrize(
    ("trusted", "believed"),
    [
        (["10.0.0.1"], True),
        (["10.0.0.1/8"], True),
        ([" 10.0.0.0/8 "], True),
        (["::ffff:10.0.0.0/104"], True),
        ([ip_network("10.0.0.0/8")], True),
        (("junk", "10.0.0.1"), True),
        (["junk", "", None, 1, ["10.0.0.1"]], False),
        ("10.0.0.1", False),
        (["unix"], False),
        (["::/0"], False),
    ],
)
def test_networks_as_settings_name_them(trusted: list[object], believed: bool) -> None:
    assert (client_address("10.0.0.1", ["1.2.3.4"], trusted).address == "1.2.3.4") == believed


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, UNKNOWN),
        ("", UNKNOWN),
        ("junk", UNKNOWN),
    ],
)
def test_limits_count_ipv4_by_address_and_ipv6_by_its_64(address: str | None, key: str) -> None:
    assert limit_key(address) == key


@given(network=st.integers(0, 2**64 - 1), hosts=st.tuples(*[st.integers(0, 2**64 - 1)] * 2))
def test_who_has_a_64_has_one_limit(network: int, hosts: tuple[int, int]) -> None:
    one, other = (ip_address((network << 64 | host).to_bytes(16, "big")) for host in hosts)
    if network:  # IPv4 in IPv6's clothes lives in network 0
        assert limit_key(str(one)) == limit_key(str(other))
