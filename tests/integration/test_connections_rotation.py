"""New tokens for both sides, whatever gets lost on the way: nobody is locked out."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import override_settings
from django.utils import timezone

from syncsessions.connections import clock, incoming, issuing, pruning, rotation, tokens
from syncsessions.connections.calls import Answer
from syncsessions.exceptions import AccessRefused, InvalidTransition, RateLimited, SiteUnavailable
from syncsessions.models import Connection, ConnectionToken
from tests.connections import a_connection, issued
from tests.fake_peer import Peer, breaks_off, says

pytestmark = pytest.mark.usefixtures("links")


def passes(token: str | None, row: Connection) -> bool:
    try:
        return bool(Connection.objects.identify(token) == row)
    except AccessRefused:
        return False


def hashes(row: Connection) -> int:
    return ConnectionToken.objects.filter(connection=row).count()


def test_both_tokens_are_new_and_the_old_one_is_good_until_then(fake_peer: Peer) -> None:
    row = a_connection(site_url=fake_peer.url)
    theirs, mine, young = issued(row), row.peer_token, tokens.draw()
    fake_peer.answer = says(200, token=young)
    row.rotate_tokens()
    heard, used = fake_peer.heard
    assert (used.method, used.path, used.token) == ("GET", "api/status", young)  # by which the old one ends there
    assert (heard.method, heard.path, heard.token) == ("POST", "api/connection/rotate", mine)
    assert row.peer_token == young == Connection.objects.get(pk=row.pk).peer_token
    offered = heard.fields["token"]
    assert tokens.is_token(offered)
    assert passes(theirs, row)
    assert passes(offered, row)
    assert not passes(theirs, row)
    assert hashes(row) == 1


async def test_async_code_may_rotate(fake_peer: Peer) -> None:
    from asgiref.sync import sync_to_async

    row = await sync_to_async(a_connection)(site_url=fake_peer.url)
    fake_peer.answer = says(200, token=(young := tokens.draw()))
    await row.arotate_tokens()
    assert row.peer_token == young


LOST = [500, 503, 502, breaks_off, says(200), says(200, token="short"), says(201, token=7), says(302)]


@pytest.mark.parametrize("answer", LOST)
def test_after_a_lost_answer_either_token_of_theirs_is_good(fake_peer: Peer, answer: Any) -> None:
    row = a_connection(site_url=fake_peer.url)
    theirs, mine = issued(row), row.peer_token
    fake_peer.answer = answer
    with pytest.raises(SiteUnavailable):
        row.rotate_tokens()
    assert Connection.objects.get(pk=row.pk).peer_token == mine
    assert passes(theirs, row)
    assert passes(fake_peer.heard[0].fields["token"], row)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (401, "invalid_token", AccessRefused),
        (403, "not_active", AccessRefused),
        (403, "ip_not_allowed", AccessRefused),
        (409, "invalid_transition", InvalidTransition),
        (429, "rate_limited", RateLimited),
        (404, "", SiteUnavailable),
    ],
)
def test_what_was_refused_was_not_taken_up(fake_peer: Peer, status: int, code: str, error: type[Exception]) -> None:
    row = a_connection(site_url=fake_peer.url)
    theirs, mine = issued(row), row.peer_token
    fake_peer.answer = says(status, code=code, message="no")
    with pytest.raises(error) as caught:
        row.rotate_tokens()
    assert code in ("", getattr(caught.value, "code", None))
    assert Connection.objects.get(pk=row.pk).peer_token == mine
    assert passes(theirs, row)
    assert not passes(fake_peer.heard[0].fields["token"], row)


@pytest.mark.parametrize("status", ["pending", "suspended", "revoked", "expired"])
def test_an_active_link_only_is_rotated(fake_peer: Peer, status: str) -> None:
    row = a_connection(site_url=fake_peer.url)
    Connection.objects.update(status=status)
    with pytest.raises(InvalidTransition, match="active connection"):
        row.rotate_tokens()
    assert fake_peer.heard == []


def test_a_link_that_cannot_be_called_names_the_command() -> None:
    row = a_connection(site_url=None, has_callback=False)
    with pytest.raises(InvalidTransition, match="syncsessions_deliver --rotate"):
        row.rotate_tokens()
    assert hashes(row) == 0


def test_a_token_under_another_key_says_so(fake_peer: Peer) -> None:
    with override_settings(SECRET_KEY="another"):
        row = a_connection(site_url=fake_peer.url)
    with pytest.raises(InvalidTransition, match="SECRET_KEY_FALLBACKS"):
        row.rotate_tokens()
    assert fake_peer.heard == []


def test_a_row_is_judged_as_it_is(fake_peer: Peer) -> None:
    """Not as this object remembers it."""
    row = a_connection(site_url=fake_peer.url)
    stale = Connection.objects.get(pk=row.pk)
    row.peer_token = tokens.draw()
    row.save()
    fake_peer.answer = says(200, token=tokens.draw())
    stale.rotate_tokens()
    assert fake_peer.heard[0].token == row.peer_token


def test_inside_a_transaction_it_is_refused_before_anybody_is_told(fake_peer: Peer, links: str) -> None:
    row = a_connection(site_url=fake_peer.url)
    with transaction.atomic(using=links), pytest.raises(RuntimeError):
        row.rotate_tokens()
    assert fake_peer.heard == []


def test_two_that_cross_are_refused_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    row, other = _two_sides()

    def call(method: str, url: str, path: str, *, token: str, json: Any = None, **options: Any) -> Answer:
        if method == "GET":
            return Answer(200 if passes(token, other) else 404, {})
        with pytest.raises(InvalidTransition):  # the other side's comes in while this one is under way
            incoming.rotate(row, tokens.draw())
        return Answer(200, {"token": incoming.rotate(other, json["token"])})

    monkeypatch.setattr(rotation, "call", call)
    row.rotate_tokens()
    assert passes(_present(row), other)
    assert passes(_present(other), row)


def _two_sides() -> tuple[Connection, Connection]:
    """Both rows of one link, in one database."""
    row, other = a_connection("sender"), a_connection("receiver")
    row.peer_token, other.peer_token = issued(other), issued(row)
    row.save()
    other.save()
    return row, other


def _present(row: Connection) -> str | None:
    return Connection.objects.get(pk=row.pk).peer_token


class Network:
    """Calls of one side at the other: some arrive late, or not, and of some the answer is lost."""

    def __init__(self, sides: tuple[Connection, Connection], chance: random.Random) -> None:
        self.sides, self.chance = sides, chance
        self.late: list[Callable[[], object]] = []

    def call(self, method: str, url: str, path: str, *, token: str, json: Any = None, **options: Any) -> Answer:
        fate = self.chance.choice(["fine", "fine", "never", "lost", "late", "other first"])
        if method == "GET":
            if fate in ("never", "late"):
                raise SiteUnavailable(offline=True)
            return Answer(200, {"passes": passes(token, self.sides[0]) or passes(token, self.sides[1])})
        if fate == "other first":
            self.something()
        if fate == "late":
            self.late.append(lambda: self._arrive(token, json["token"]))
        if fate in ("never", "late"):
            raise SiteUnavailable(offline=True)
        answer = self._arrive(token, json["token"])
        if fate == "lost":
            raise SiteUnavailable
        return answer

    def _arrive(self, bearer: str, offered: str) -> Answer:
        try:
            return Answer(200, {"token": incoming.rotate(Connection.objects.identify(bearer), offered)})
        except AccessRefused:
            return Answer(401, {"code": "invalid_token"})
        except InvalidTransition:
            return Answer(409, {"code": "invalid_transition"})

    def something(self) -> None:
        row = Connection.objects.get(pk=self.chance.choice(self.sides).pk)
        what = self.chance.choice(["rotate", "rotate", "use", "late"])
        if what == "rotate":
            with suppress(SiteUnavailable, InvalidTransition, AccessRefused):
                row.rotate_tokens()
        elif what == "use":
            assert passes(row.peer_token, self._other(row)), "locked out"
        elif self.late:
            self.late.pop(self.chance.randrange(len(self.late)))()

    def _other(self, row: Connection) -> Connection:
        return next(side for side in self.sides if side.pk != row.pk)


@pytest.fixture
def seeds() -> Iterator[list[int]]:
    yield [random.randrange(10**9) for _ in range(12)]


def test_nobody_is_locked_out_whatever_the_network_does(seeds: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in seeds:
        network = Network(_two_sides(), random.Random(seed))
        monkeypatch.setattr(rotation, "call", network.call)
        for _ in range(30):
            try:
                network.something()
                for row in network.sides:  # without a use, which would end the others
                    digest = tokens.digest(str(_present(row)))
                    other = network._other(row)
                    assert ConnectionToken.objects.filter(token_hash=digest, connection=other).exists(), "locked out"
            except AssertionError as error:
                raise AssertionError(f"with the seed {seed}") from error


@pytest.mark.parametrize("by_pruning", [True, False])
def test_offers_that_were_lost_do_not_pile_up(fake_peer: Peer, links: str, by_pruning: bool) -> None:
    row = a_connection(site_url=fake_peer.url)
    other = a_connection(site_url=f"{fake_peer.url}/other")
    fake_peer.answer = 503
    for _ in range(20):
        with pytest.raises(SiteUnavailable):
            row.rotate_tokens()
    with pytest.raises(SiteUnavailable):
        other.rotate_tokens()
    assert hashes(row) == 20  # any of them may still arrive
    before = clock.now(links) - tokens.UNDER_WAY - timedelta(seconds=1)
    ConnectionToken.objects.update(created_at=before)
    if by_pruning:
        pruning.prune()
    else:
        with pytest.raises(SiteUnavailable):
            row.rotate_tokens()
    assert hashes(row) == issuing.MOST_UNUSED + (not by_pruning)
    assert hashes(other) == 1
    ours = [each.fields["token"] for each in fake_peer.heard[:20]]
    assert all(passes(token, row) for token in ours[-issuing.MOST_UNUSED :][:1])


def test_a_rotation_is_over_though_its_token_could_not_be_used_at_once(fake_peer: Peer) -> None:
    row = a_connection(site_url=fake_peer.url)
    fake_peer.next = [says(200, token=(young := tokens.draw())), breaks_off]
    row.rotate_tokens()
    assert Connection.objects.get(pk=row.pk).peer_token == young


@pytest.mark.parametrize("use_tz", [True, False])
def test_whose_rotation_is_under_way_is_told_by_the_databases_clock(
    links: str, monkeypatch: pytest.MonkeyPatch, use_tz: bool
) -> None:
    """Whatever this machine's clock says, and whether or not its times are aware."""
    with override_settings(USE_TZ=use_tz):
        row = a_connection()
        for wrong in (timedelta(hours=-5), timedelta(hours=5)):
            monkeypatch.setattr(timezone, "now", lambda wrong=wrong: clock.now(links) + wrong)
            offer = issuing.keep(links, row, tokens.draw(), offered=True)
            with pytest.raises(InvalidTransition):
                incoming.rotate(row, tokens.draw())
            before = clock.now(links) - tokens.UNDER_WAY - timedelta(seconds=1)
            ConnectionToken.objects.filter(pk=offer.pk).update(created_at=before)
            incoming.rotate(row, tokens.draw())
