"""Veiled names: they lead back to their text, here only, and do not show it."""

from __future__ import annotations

import string
from typing import Any

import pytest

from syncsessions.veil import unveiled, veiled

TEXTS = ["", "a", "shop.Shop:A-browser-sessions-name 0123456789abcdef", "ö€😀" * 30, "x" * 32, "x" * 33]


@pytest.mark.parametrize("text", TEXTS)
def test_a_name_leads_back_to_its_text(text: str) -> None:
    name = veiled("one", text)
    assert set(name) <= set(string.ascii_letters + string.digits + "-_")
    assert unveiled("one", name) == text
    assert veiled("one", text) == name


def test_names_show_nothing_that_texts_share() -> None:
    first, second = veiled("one", "a long beginning: 1"), veiled("one", "a long beginning: 2")
    assert first[22:40] != second[22:40]


def test_it_leads_back_for_its_purpose_and_key_only(settings: Any) -> None:
    name = veiled("one", "text")
    assert unveiled("other", name) is None
    settings.SECRET_KEY = "another"
    assert unveiled("one", name) is None


def test_what_was_made_elsewhere_leads_nowhere() -> None:
    name = veiled("one", "some text")
    for place in range(len(name)):
        changed = name[:place] + ("A" if name[place] != "A" else "B") + name[place + 1 :]
        assert unveiled("one", changed) in (None, "some text")  # the last symbol has bits that say nothing
        assert unveiled("one", name[:place]) is None
    for wrong in ("", "A", "ö", "=", "a b", "A" * 500, name + "\n", "\x00"):
        assert unveiled("one", wrong) is None
