"""The watch over the whole suite sees what it is there to see."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User

from syncsessions import codes
from syncsessions.connections import tokens
from tests import secrecy
from tests.connections import a_connection

pytestmark = pytest.mark.django_db

DRAWS: list[Callable[[], str]] = [
    lambda: tokens.draw(),
    lambda: codes.draw(),
    lambda: codes.grouped(codes.draw()),
    lambda: codes.grouped(codes.draw()).lower(),
    lambda: secrecy.keep(f"password {secrets.token_hex(8)}"),
]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])
def test_in_a_record_of_any_level(draw: Callable[[], str], level: int) -> None:
    secrecy.leaks()
    logger = logging.getLogger("syncsessions.tests")
    getattr(logger, logging.getLevelName(level).lower())("Somebody came with %s.", secret := draw())
    (found,) = secrecy.leaks()
    assert secret in found
    assert secrecy.leaks() == []


def test_in_the_text_of_an_exception() -> None:
    secrecy.leaks()
    try:
        raise ValueError(tokens.draw())
    except ValueError:
        logging.getLogger("elsewhere").exception("It failed")
    assert len(secrecy.leaks()) == 1


def test_in_the_admins_log_and_in_a_row() -> None:
    user = User.objects.create_user("grace")
    row = a_connection()
    assert secrecy.leaks() == []
    LogEntry.objects.log_actions(user.pk, [row], CHANGE, f"Came with {tokens.draw()}.")
    assert len(secrecy.leaks()) == 1
    row.metadata = {"token": tokens.draw()}
    row.save()
    assert len(secrecy.leaks()) == 1


def test_what_is_none_is_left_alone() -> None:
    secrecy.leaks()
    logger = logging.getLogger("syncsessions.tests")
    logger.warning("Somebody came with %s, %s, %s.", codes.masked(codes.draw()), secrets.token_urlsafe(32), "ABCD-EFGH")
    logger.warning("Somebody came with %s.", tokens.digest(tokens.draw()))
    assert secrecy.leaks() == []
