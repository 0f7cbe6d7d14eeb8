"""Two real sites and the link between them: asked for, approved, changed, cut off, rotated and ended."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password

from tests.tapped import tapped
from tests.two_sites import SOON, LinkedSite, Refused, ended

pytestmark = pytest.mark.xdist_group("two_sites")

Pair = tuple[LinkedSite, LinkedSite]


@pytest.fixture(scope="module")
def sites() -> Iterator[Pair]:
    """The sender and the receiver, each reached through a tap."""
    with ExitStack() as stack:
        taps = [stack.enter_context(tapped()) for _ in range(2)]
        first, second = (stack.enter_context(LinkedSite(name, tap=tap)) for name, tap in zip("ab", taps, strict=True))
        yield first, second


@pytest.fixture
def pair(sites: Pair) -> Iterator[Pair]:
    """Both running, and neither knowing the other."""
    yield sites
    for each in sites:
        if not each.running:
            each.start()
    for each in sites:
        assert each.tap is not None
        each.tap.losing.clear()
        each.do("forget")


@pytest.fixture
def linked(pair: Pair) -> Pair:
    a, b = pair
    a.do("connect", url=b.address)
    b.step("approve")
    a.wait_for_status("active")
    return pair


def test_asked_for_approved_and_ended(pair: Pair) -> None:
    a, b = pair
    a.do("connect", url=b.address, name="Archive")
    here, there = a.row, b.row
    assert (here["direction"], here["status"], here["handed_over"], here["offers"]) == (
        "sender",
        "pending",
        True,
        False,
    )
    assert (there["direction"], there["status"]) == ("receiver", "pending")
    assert (here["site_url"], there["site_url"]) == (b.address, a.address)
    assert (here["name"], there["name"]) == ("Archive", "Archive")
    with pytest.raises(Refused, match="invalid_transition"):
        a.step("approve")
    b.step("approve")
    assert a.wait_for_status("active")["approved"]
    with pytest.raises(Refused, match="already_exists"):
        a.do("connect", url=b.address)

    a.step("suspend", reason="moving house")
    assert b.wait_for_status("suspended")["changes"][-1] == ["active", "suspended", True, "moving house"]
    with pytest.raises(Refused, match="invalid_transition"):
        b.step("reactivate")
    a.step("reactivate")
    b.wait_for_status("active")
    b.step("suspend")
    a.wait_for_status("suspended")
    b.step("reactivate")
    a.wait_for_status("active")
    b.step("revoke", reason="the end")
    assert a.wait_for_status("revoked")["changes"][-1] == ["active", "revoked", True, "the end"]
    assert a.told["waiting"] == b.told["waiting"] == 0
    assert not a.row["delivery_error"] and not b.row["delivery_error"]


@pytest.mark.parametrize("deletes", [0, 1], ids=["sender", "receiver"])
def test_what_is_deleted_is_revoked_at_the_other_site(linked: Pair, deletes: int) -> None:
    one, other = linked[deletes], linked[1 - deletes]
    one.step("delete")
    assert other.wait_for_status("revoked")["changes"][-1][2]
    assert one.told["rows"] == []
    assert one.told["waiting"] == 0


def test_what_changes_while_the_other_site_is_down_arrives_once_and_in_order(linked: Pair) -> None:
    a, b = linked
    b.kill()
    for number in range(3):
        a.step("suspend", reason=f"number {number}")
        a.step("reactivate")
    a.step("revoke")
    assert a.told["waiting"] == 7
    command = a.start_command("syncsessions_deliver", "--forever")
    try:
        b.start()
        back = time.monotonic()
        row = b.wait_for_status("revoked", SOON)
        assert time.monotonic() - back < SOON
    finally:
        output = ended(command)
    steps = [["active", "suspended", True, f"number {number}"] for number in range(3)]
    back_again = ["suspended", "active", True, ""]
    expected = [each for step in steps for each in (step, back_again)]
    assert row["changes"][2:] == [*expected, ["active", "revoked", True, ""]]
    assert "Told of" in output
    assert a.told["waiting"] == 0


def test_a_deletion_is_told_when_the_other_site_is_back(linked: Pair) -> None:
    a, b = linked
    b.kill()
    a.step("suspend", reason="before")
    a.step("delete")
    b.start()
    assert "Told of 2 changes." in a.manage("syncsessions_deliver")
    assert [change[:2] for change in b.row["changes"][2:]] == [["active", "suspended"], ["suspended", "revoked"]]


def test_an_answer_that_is_lost_is_asked_for_again(pair: Pair) -> None:
    a, b = pair
    assert b.tap is not None
    b.tap.losing += ["POST /sync/api/connections"] * 2
    a.do("connect", url=b.address)
    assert len(b.tap.lost) >= 2
    assert a.row["handed_over"]
    b.step("approve")
    a.wait_for_status("active")
    a.step("suspend")
    b.wait_for_status("suspended")


def test_after_all_answers_were_lost_the_next_call_goes_on(pair: Pair) -> None:
    a, b = pair
    assert b.tap is not None
    b.tap.losing += ["POST /sync/api/connections"] * 3
    with pytest.raises(Refused, match="site_unavailable"):
        a.do("connect", url=b.address)
    assert a.row["offers"] and not a.row["handed_over"]
    assert b.row["status"] == "pending"
    a.kill()
    a.start()
    a.do("connect", url=b.address)
    b.step("approve")
    a.wait_for_status("active")
    a.step("suspend")
    b.wait_for_status("suspended")
    assert len(b.told["rows"]) == 1


def test_tokens_are_rotated_from_either_side(linked: Pair) -> None:
    a, b = linked
    for _ in range(2):
        a.step("rotate_tokens")
        _both_ways(a, b)
        b.step("rotate_tokens")
        _both_ways(a, b)
    assert len(a.row["tokens"]) == len(b.row["tokens"]) == 1  # the old ones went


@pytest.mark.parametrize("rotates", [0, 1], ids=["sender", "receiver"])
def test_a_lost_answer_to_a_rotation_locks_nobody_out(linked: Pair, rotates: int) -> None:
    one, other = linked[rotates], linked[1 - rotates]
    assert other.tap is not None
    for _ in range(3):
        other.tap.losing.append("/api/connection/rotate")
        with pytest.raises(Refused, match="site_unavailable"):
            one.step("rotate_tokens")
        _both_ways(one, other)
    one.step("rotate_tokens")
    _both_ways(one, other)


def test_a_link_that_the_receiver_has_forgotten_is_suspended_by_verification(linked: Pair) -> None:
    a, b = linked
    assert "0 were suspended" in a.manage("syncsessions_verify")
    assert a.row["status"] == "active"
    b.kill()
    assert "0 were suspended" in a.manage("syncsessions_verify")
    assert a.row["status"] == "active"
    b.start()
    b.do("forget")
    told = a.manage("syncsessions_verify")
    assert "is suspended: that site knows of no such connection." in told
    assert "1 was suspended" in told
    assert a.row["changes"][-1] == ["active", "suspended", False, "Remote site reports connection not found"]
    assert a.told["waiting"] == 0


def test_with_a_password_it_is_active_at_once(pair: Pair) -> None:
    a, _ = pair
    with LinkedSite("c", INCOMING_MODE="require_password", INCOMING_PASSWORD=make_password("open sesame")) as c:
        for wrong in ({}, {"password": "sesame"}):
            with pytest.raises(Refused, match="invalid_password"):
                a.do("connect", url=c.address, **wrong)
            assert a.told["rows"] == c.told["rows"] == []
        assert "It is active" in a.manage("syncsessions_connect", c.address, "--password", given="open sesame\n")
        assert a.row["status"] == c.row["status"] == "active"
        assert a.row["approved"] and c.row["approved"]


@pytest.fixture
def laptop() -> Iterator[LinkedSite]:
    """A site without an address; it serves nobody unless a test starts it."""
    site = LinkedSite("laptop", known=False)
    try:
        yield site
    finally:
        site.close()


def _counts(site: LinkedSite) -> Any:
    found = json.loads(site.manage("syncsessions_status", "--json"))["connections"]
    return {status: count for status, count in found["counts"]["receiver"].items() if count}


def test_by_invitation_with_a_receiver_that_listens_on_no_port(pair: Pair, laptop: LinkedSite) -> None:
    a, _ = pair
    code = a.do("invite", name="Ada's laptop")
    told = laptop.manage("syncsessions_connect", a.address, "--code", given=f"{code[:4]}-{code[4:]}\n")
    assert "It is active: this site will receive." in told
    assert "syncsessions_deliver" in told
    row = a.row
    assert (row["name"], row["status"], row["has_callback"], row["site_url"]) == ("Ada's laptop", "active", False, None)
    assert _counts(laptop) == {"active": 1}

    a.step("suspend")
    assert a.told["waiting"] == 0  # nobody to call
    laptop.manage("syncsessions_deliver")
    assert _counts(laptop) == {"suspended": 1}
    a.step("reactivate")
    laptop.manage("syncsessions_deliver")
    assert _counts(laptop) == {"active": 1}

    assert "has new tokens." in laptop.manage("syncsessions_deliver", "--rotate")
    assert a.row["tokens"] in ([True, False], [True])
    laptop.manage("syncsessions_deliver")
    assert a.row["tokens"] == [True]
    with pytest.raises(Refused, match="syncsessions_deliver --rotate"):
        a.step("rotate_tokens")
    remote = json.loads(laptop.manage("syncsessions_status", "--json", "--remote"))["connections"]["remote"]
    assert [(each["status"], each["remote"]) for each in remote] == [("active", "active")]
    remote = json.loads(a.manage("syncsessions_status", "--json", "--remote"))["connections"]["remote"]
    assert [each["remote"] for each in remote] == ["not_reachable"]

    a.step("delete")
    laptop.manage("syncsessions_deliver")
    assert _counts(laptop) == {"suspended": 1}


def test_what_an_unreachable_receiver_changes_is_told_to_the_sender(pair: Pair, laptop: LinkedSite) -> None:
    a, _ = pair
    laptop.start()  # for this test to act there; the sender knows no address of it
    laptop.do("redeem", url=a.address, code=a.do("invite", name="laptop"))
    laptop.step("suspend", reason="on holiday")
    assert a.wait_for_status("suspended")["set_by_peer"]
    laptop.step("reactivate")
    a.wait_for_status("active")
    laptop.step("delete")
    a.wait_for_status("revoked")


def test_by_invitation_with_a_receiver_that_can_be_called(pair: Pair) -> None:
    a, b = pair
    code = a.do("invite", name="B")
    b.do("redeem", url=a.address, code=code)
    assert (a.row["status"], b.row["status"], a.row["site_url"]) == ("active", "active", b.address)
    assert a.row["has_callback"] and b.row["has_callback"]
    _both_ways(a, b)
    a.step("rotate_tokens")
    _both_ways(a, b)
    with pytest.raises(Refused, match="already_exists"):
        b.do("redeem", url=a.address, code=code)
    b.do("forget")
    with pytest.raises(Refused, match="already_used"):
        b.do("redeem", url=a.address, code=code)
    with pytest.raises(Refused, match="invalid_code"):
        b.do("redeem", url=a.address, code="2222-2222")
    assert b.told["rows"] == []


def _both_ways(one: LinkedSite, other: LinkedSite) -> None:
    """What either changes, the other one sees."""
    for here, there in ((one, other), (other, one)):
        here.step("suspend")
        there.wait_for_status("suspended")
        here.step("reactivate")
        there.wait_for_status("active")
        assert not here.row["delivery_error"]
