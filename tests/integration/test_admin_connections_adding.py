"""Adding a connection in the admin: by asking another site, by an invitation, and by redeeming one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client

from syncsessions import codes
from syncsessions.connections import invitations
from syncsessions.models import Connection, ConnectionInvitation
from tests.connection_staff import ADD, INVITE, VIEW, WITHDRAW, accepting, boss, said, text_of, url
from tests.connections import a_connection
from tests.misbehaving import Site, Talk, misbehaving
from tests.staff import client_of, member, put

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sites_here")]
OWN = "https://s.example/sync"


@pytest.fixture(autouse=True)
def own_site(settings: Any, sites_here: None) -> None:
    put(settings, SITE_URL=OWN)


@pytest.fixture
def willing() -> Iterator[Site]:
    """A site that takes whatever it is asked."""
    with misbehaving(behave=accepting("pending")) as site:
        yield site


def refusing(status: int, code: str) -> Any:
    def behave(talk: Talk) -> None:
        talk.answer(status, {"code": code, "message": "Words of theirs"})

    return misbehaving(behave=behave)


def add(client: Client, way: str, **fields: str) -> Any:
    return client.post(
        url("add"), {"way": way, **{f"{way}-{name}": text for name, text in fields.items()}}, follow=True
    )


def errors(response: Any, way: str) -> dict[str, list[str]]:
    text_of(response)
    return {name: list(map(str, found)) for name, found in response.context["ways"][way].errors.items()}


def test_one_asks_another_site(willing: Site) -> None:
    user, client = boss()
    answer = add(client, "connect", url=willing.url("sync"), name="Customer", password="their words")
    row = Connection.objects.get()
    assert said(answer) == ["The connection “Customer” awaits its approval at the other site."]
    assert answer.request["PATH_INFO"] == url("change", row.pk)
    assert (row.direction, row.status, row.name, row.asked_here) == ("sender", "pending", "Customer", True)
    asked = json.loads(willing.talks[0].body)
    assert (asked["sender_url"], asked["password"]) == (OWN, "their words")
    (entry,) = LogEntry.objects.filter(user=user)
    assert (entry.object_id, entry.is_addition()) == (str(row.pk), True)
    shown = text_of(answer) + entry.change_message
    assert "their words" not in shown and asked["token"] not in shown


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "invalid_password", "wants a password"),
        (403, "denied", "takes no connections"),
        (409, "already_exists", "has a connection to this site already"),
        (503, "disabled", "has no SITE_URL"),
    ],
)
def test_a_refusal_is_told_and_leaves_no_row(status: int, code: str, words: str) -> None:
    _user, client = boss()
    with refusing(status, code) as site:
        answer = add(client, "connect", url=site.url("sync"), name="Customer", password="their words")
    assert words in errors(answer, "connect")["__all__"][0]
    assert 'value="Customer"' in text_of(answer) and "their words" not in text_of(answer)
    assert not Connection.objects.exists() and not LogEntry.objects.exists()


def test_a_site_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncsessions.connections.asking.PAUSES", (0.0,))
    _user, client = boss()
    answer = add(client, "connect", url="http://127.0.0.1:1/sync")
    assert "did not answer" in errors(answer, "connect")["__all__"][0]


def test_what_is_no_address_is_told_at_its_field() -> None:
    _user, client = boss()
    for text in ("", "not an address", "ftp://x.example", "https://x.example/?a=b", OWN):
        assert errors(add(client, "connect", url=text), "connect").keys() == {"url"}
    assert errors(add(client, "connect", url="https://x.example", name="x" * 101), "connect").keys() == {"name"}
    there = a_connection("sender", site_url="https://x.example/sync")
    again = add(client, "connect", url="https://X.example/sync/")
    assert "already" in errors(again, "connect")["__all__"][0]
    assert list(Connection.objects.all()) == [there]


def test_an_invitation_shows_its_code_once() -> None:
    user, client = boss()
    answer = add(client, "invite", name="<b>Ann</b>")
    text = text_of(answer)
    found = re.search(r'data-part="code">(\w{4}-\w{4})<', text)
    assert found
    code = found[1]
    assert f"syncsessions_connect {OWN} --code {code}" in text
    assert "24 hours" in text and "<b>Ann" not in text
    assert "no-store" in answer["Cache-Control"]
    invitation = ConnectionInvitation.objects.get()
    assert (invitation.created_by_id, invitations.find(code)) == (user.pk, invitation)
    plain = codes.normalise(code) or ""
    again = text_of(client.get(url("add"))) + text_of(client.get(url()))
    kept = str([session.get_decoded() for session in Session.objects.all()]) + str(client.cookies)
    logged = "".join(f"{entry.change_message}{entry.object_repr}" for entry in LogEntry.objects.all())
    assert LogEntry.objects.filter(user=user, object_id=str(invitation.pk)).count() == 1
    for each in (again, kept, logged, repr(invitation), answer.request["PATH_INFO"] + answer.request["QUERY_STRING"]):
        assert code not in each and plain not in each
    assert "&lt;b&gt;Ann&lt;/b&gt;" in again


def test_open_invitations_are_listed_and_withdrawn() -> None:
    user, client = boss()
    open_one, _code = invitations.make("Open")
    used, _code = invitations.make("Used")
    ConnectionInvitation.objects.filter(pk=used.pk).update(used_at=used.created_at)
    late, _code = invitations.make("Late")
    ConnectionInvitation.objects.filter(pk=late.pk).update(expires_at=late.created_at)
    page = text_of(client.get(url("add")))
    assert "Open" in page and ">Used<" not in page and ">Late<" not in page
    fields = {"way": "withdraw", "invitation": str(open_one.pk)}
    assert said(client.post(url("add"), fields, follow=True)) == ["The invitation “Open” was withdrawn."]
    assert not ConnectionInvitation.objects.filter(pk=open_one.pk).exists()
    assert LogEntry.objects.get(user=user).object_id == str(open_one.pk)
    for pk in (str(open_one.pk), str(used.pk), "x", ""):
        (message,) = said(client.post(url("add"), {"way": "withdraw", "invitation": pk}, follow=True))
        assert "already" in message
    assert ConnectionInvitation.objects.filter(pk=used.pk).exists()


@pytest.mark.parametrize("callback", [True, False])
def test_one_redeems_an_invitation(willing: Site, callback: bool) -> None:
    _user, client = boss()
    more = {"callback": "on"} if callback else {}
    answer = add(client, "redeem", url=willing.url("sync"), code="a7x9 k2m4", name="Production", **more)
    row = Connection.objects.get()
    assert answer.request["PATH_INFO"] == url("change", row.pk)
    assert (row.direction, row.name, row.has_callback) == ("receiver", "Production", callback)
    asked = json.loads(willing.talks[0].body)
    assert (asked["code"], asked.get("receiver_url")) == ("A7X9K2M4", OWN if callback else None)
    assert "A7X9" not in str(list(LogEntry.objects.values_list("change_message", "object_repr")))


def test_a_wrong_code_is_told(willing: Site) -> None:
    _user, client = boss()
    answer = add(client, "redeem", url=willing.url("sync"), code="nonsense!")
    assert "not valid" in errors(answer, "redeem")["__all__"][0]
    with refusing(401, "invalid_code") as site:
        answer = add(client, "redeem", url=site.url("sync"), code="A7X9-K2M4")
    assert "does not know this code" in errors(answer, "redeem")["__all__"][0]
    assert not Connection.objects.exists() and willing.talks == []


@pytest.mark.parametrize("site_url", [None, "", "not an address"])
def test_without_a_site_url_it_says_what_is_missing(settings: Any, willing: Site, site_url: str | None) -> None:
    put(settings, SITE_URL=site_url)
    _user, client = boss()
    page = text_of(client.get(url("add")))
    assert "SITE_URL" in page and "Set SYNCSESSIONS" in page
    assert 'value="connect"' not in page and 'value="invite"' not in page
    for way in ("connect", "invite"):
        assert client.post(url("add"), {"way": way, f"{way}-name": "x", f"{way}-url": OWN}).status_code == 403
    assert not ConnectionInvitation.objects.exists()
    # To redeem takes none.
    add(client, "redeem", url=willing.url("sync"), code="A7X9-K2M4", callback="on")
    assert Connection.objects.get().has_callback is False


@pytest.mark.parametrize(
    ("permissions", "ways"),
    [
        ((VIEW, ADD), {"connect", "redeem"}),
        ((VIEW, INVITE), {"invite"}),
        ((INVITE, WITHDRAW), {"invite"}),
        ((WITHDRAW,), set()),
        ((ADD, INVITE), {"connect", "redeem", "invite"}),
    ],
)
def test_who_may_add_in_which_way(permissions: tuple[str, ...], ways: set[str]) -> None:
    invitation, _code = invitations.make("Open")
    client = client_of(member(*permissions))
    page = text_of(client.get(url("add")))
    for way in ("connect", "redeem", "invite"):
        assert (f'name="way" value="{way}"' in page) == (way in ways)
        if way not in ways:
            assert client.post(url("add"), {"way": way}).status_code == 403
    assert client.post(url("add"), {"way": "nothing"}).status_code == 403
    assert ('value="withdraw"' in page) == (WITHDRAW in permissions)
    assert (">Open<" in page) == bool({INVITE, WITHDRAW} & set(permissions))
    withdrawn = client.post(url("add"), {"way": "withdraw", "invitation": str(invitation.pk)})
    assert withdrawn.status_code == (302 if WITHDRAW in permissions else 403)
    assert ConnectionInvitation.objects.filter(pk=invitation.pk).exists() != (WITHDRAW in permissions)


def test_who_may_not_add_is_refused() -> None:
    client = client_of(member(VIEW))
    for way in ("connect", "redeem", "invite", "withdraw"):
        assert client.post(url("add"), {"way": way}).status_code == 403
    assert client.get(url("add")).status_code == 403
    assert url("add") not in text_of(client.get(url()))


def test_the_row_is_committed_before_the_other_site_is_called(settings: Any) -> None:
    """Even where a project wraps each request in a transaction: the other site calls back for the row."""
    from django.db import connections

    seen: list[int] = []

    def behave(talk: Talk) -> None:
        alias = connections["default"]
        seen.append(Connection.objects.using(alias.alias).count())  # a connection of this thread's own
        alias.close()
        accepting("active")(talk)

    connections["default"].settings_dict["ATOMIC_REQUESTS"] = True
    try:
        _user, client = boss()
        with misbehaving(behave=behave) as site:
            answer = add(client, "connect", url=site.url("sync"), name="Customer")
    finally:
        connections["default"].settings_dict["ATOMIC_REQUESTS"] = False
    assert said(answer) == ["The connection “Customer” is active."]
    assert seen == [1]
