"""The status of a connection: every step from every standing, by either side."""

from __future__ import annotations

import itertools

import pytest

from syncsessions.connections import flow
from syncsessions.connections.flow import ACTIVE, EXPIRED, PENDING, REVOKED, STATUSES, SUSPENDED, Standing

LEGAL = {
    (PENDING, ACTIVE),
    (PENDING, SUSPENDED),
    (PENDING, REVOKED),
    (ACTIVE, SUSPENDED),
    (ACTIVE, REVOKED),
    (ACTIVE, EXPIRED),
    (SUSPENDED, ACTIVE),
    (SUSPENDED, REVOKED),
}
STANDINGS = [Standing(*each) for each in itertools.product(STATUSES, *[(False, True)] * 3)]


@pytest.mark.parametrize("now", STANDINGS)
@pytest.mark.parametrize("by_peer", [False, True])
@pytest.mark.parametrize("status", STATUSES)
def test_only_what_the_table_has(now: Standing, by_peer: bool, status: str) -> None:
    refused = flow.refusal(now, status, by_peer=by_peer)
    if (now.status, status) not in LEGAL:
        assert refused
    elif status != ACTIVE:
        assert refused is None


@pytest.mark.parametrize("now", STANDINGS)
def test_what_awaits_this_sides_approval_is_never_lifted_by_the_peer(now: Standing) -> None:
    if not now.asked_here and not now.approved:
        assert flow.refusal(now, ACTIVE, by_peer=True)


@pytest.mark.parametrize("now", STANDINGS)
def test_a_suspension_is_lifted_by_the_side_that_set_it(now: Standing) -> None:
    if now.status == SUSPENDED and now.approved:
        assert (flow.refusal(now, ACTIVE, by_peer=True) is None) == now.set_by_peer
        assert (flow.refusal(now, ACTIVE, by_peer=False) is None) != now.set_by_peer


@pytest.mark.parametrize("by_peer", [False, True])
@pytest.mark.parametrize("asked_here", [False, True])
def test_who_was_asked_approves(asked_here: bool, by_peer: bool) -> None:
    now = Standing(PENDING, asked_here, set_by_peer=False, approved=False)
    assert (flow.refusal(now, ACTIVE, by_peer=by_peer) is None) == (asked_here == by_peer)


def test_a_pending_link_that_the_peer_suspended_still_awaits_approval() -> None:
    """Else the peer would get past it: suspend, then lift its own suspension."""
    now = Standing(SUSPENDED, asked_here=False, set_by_peer=True, approved=False)
    assert flow.refusal(now, ACTIVE, by_peer=True)


@pytest.mark.parametrize(("status", "lifts"), [(PENDING, SUSPENDED), (SUSPENDED, PENDING)])
def test_approving_and_reactivating_are_steps_of_their_own(status: str, lifts: str) -> None:
    now = Standing(status, asked_here=False, set_by_peer=False, approved=True)
    assert flow.refusal(now, ACTIVE, by_peer=False, lifts=lifts)
    assert flow.refusal(now, ACTIVE, by_peer=False, lifts=status) is None


def test_refusals_are_sentences() -> None:
    texts = {str(flow.refusal(now, status, by_peer=by)) for now in STANDINGS for status in STATUSES for by in (0, 1)}
    assert all(text.endswith(".") for text in texts - {"None"})
    assert "A connection that is pending cannot become expired." in texts


def test_who_was_asked_lifts_what_was_suspended_before_it_was_approved() -> None:
    """Else nobody could: the peer must not get past the approval, and this side has not suspended it."""
    now = Standing(SUSPENDED, asked_here=False, set_by_peer=True, approved=False)
    assert flow.refusal(now, ACTIVE, by_peer=False) is None
    assert flow.refusal(now, ACTIVE, by_peer=True)
