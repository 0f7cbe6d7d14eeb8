"""What the tests of the connections' admin share: its permissions and addresses, and what its pages say."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from syncsessions.connections import tokens
from syncsessions.models import Connection
from tests.misbehaving import DEADLINE, Site, Talk, misbehaving, status
from tests.staff import client_of, member

VIEW, CHANGE, ADD, DELETE = (f"{right}_connection" for right in ("view", "change", "add", "delete"))
APPROVE, ROTATE, VERIFY = (f"{right}_connection" for right in ("approve", "rotate", "verify"))
INVITE, WITHDRAW = "add_connectioninvitation", "delete_connectioninvitation"
STEPS = ("approve", "suspend", "reactivate", "revoke")
ACTIONS = {**dict.fromkeys(STEPS, APPROVE), "rotate": ROTATE, "verify": VERIFY}
"""By each action, the permission that it needs."""


def url(page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:syncsessions_connection_{page}", args=args)


def boss() -> tuple[User, Client]:
    user = member(is_superuser=True)
    return user, client_of(user)


def text_of(response: Any) -> str:
    assert response.status_code == 200, response.status_code
    return str(response.content.decode())


def said(response: Any) -> list[str]:
    text_of(response)
    return [str(message) for message in response.context["messages"]]


def config_of(response: Any) -> dict[str, Any]:
    found = re.search(
        r'<script id="syncsessions-live-config" type="application/json">(.*?)</script>', text_of(response)
    )
    assert found
    config: dict[str, Any] = json.loads(found[1])
    return config


def badges(response: Any, shows: str) -> dict[str, str]:
    """By the connection's id, the status that a badge shows."""
    pattern = rf'data-connection="([^"]+)" data-shows="{shows}" data-status="([^"]+)"'
    return dict(re.findall(pattern, text_of(response)))


def buttons(response: Any) -> list[str]:
    return re.findall(r'<button type="submit" name="action" value="(\w+)"', text_of(response))


def choose(client: Client, action: str, *rows: Connection, **more: Any) -> Any:
    """Run an action on these rows of the list."""
    fields = {"action": action, "_selected_action": [str(row.pk) for row in rows], **more}
    return client.post(url(), fields, follow=True)


def press(client: Client, action: str, row: Connection, **more: Any) -> Any:
    """Press a button on the page of a row."""
    return client.post(url("action", row.pk), {"action": action, **more}, follow=True)


def posted_back(client: Client, asking: Any, **more: Any) -> Any:
    """What a press of the asking page's button brings."""
    form = re.search(r'<form method="post" action="([^"]*)"[^>]*>(.*?)</form>', text_of(asking), re.DOTALL)
    assert form
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form[2]):
        fields.setdefault(name, []).append(unescape(value))
    return client.post(unescape(form[1]), {**fields, **more}, follow=True)


class Remote:
    """Another site that answers a question only when it is told what: `answer(name, status)`."""

    def __init__(self) -> None:
        self.site: Site
        self.lost: list[str] = []
        """Names whose client has hung up before there was an answer."""
        self._answers: dict[str, str] = {}
        self._changed = threading.Condition()

    def url(self, name: str) -> str:
        return self.site.url("told", name)

    def wait_for_lost(self, *names: str) -> None:
        """Until these have been hung up on, within the two seconds that a page's end may take, and some."""
        with self._changed:
            assert self._changed.wait_for(lambda: sorted(self.lost) == sorted(names), 5), self.lost

    def answer(self, name: str, word: str) -> None:
        with self._changed:
            self._answers[name] = word
            self._changed.notify_all()

    def behave(self, talk: Talk) -> None:
        name = talk.path.split("/")[2]
        hung_up = threading.Event()
        threading.Thread(target=self._watch, args=[talk, hung_up], daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: name in self._answers or hung_up.is_set(), DEADLINE)
            word = self._answers.get(name)
            if word is None:
                self.lost.append(name)
                self._changed.notify_all()
        if word is not None:
            status(talk, word)

    def _watch(self, talk: Talk, hung_up: threading.Event) -> None:
        talk.wait_until_gone()
        hung_up.set()
        with self._changed:
            self._changed.notify_all()


@contextmanager
def told_remote() -> Iterator[Remote]:
    remote = Remote()
    with misbehaving(behave=remote.behave) as site:
        remote.site = site
        yield remote


def accepting(word: str = "pending") -> Callable[[Talk], None]:
    """A site that takes every connection that it is asked for, and every invitation."""

    def behave(talk: Talk) -> None:
        talk.answer(201, {"status": word, "token": tokens.draw(), "name": "R", "site_url": "https://r.example/sync"})

    return behave
