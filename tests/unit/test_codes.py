"""Codes: drawn from the right symbols, read in any spelling, never shown whole where they must not be."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsessions import codes
from tests.workers import ROOT

CODES = st.text(codes.ALPHABET, min_size=codes.LENGTH, max_size=codes.LENGTH)
BLANKS = st.text(" \t\n\u00a0\u2009-\u2010\u2011\u2012\u2013\u2014\u2212", max_size=3)


def test_the_symbols_are_those_that_nobody_confuses() -> None:
    assert codes.ALPHABET == "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
    assert codes.LENGTH == 8


def test_drawn_codes_are_codes_and_spread_evenly() -> None:
    drawn = [codes.draw() for _number in range(2000)]
    assert all(codes.normalise(code) == code for code in drawn)
    assert len(set(drawn)) == 2000  # by chance not so: one run in 400,000
    seen = Counter("".join(drawn))
    assert seen.keys() == set(codes.ALPHABET)
    expected = 2000 * 8 / 31
    assert all(abs(count - expected) < 8 * expected**0.5 for count in seen.values())


@given(
    code=CODES, blanks=st.lists(BLANKS, min_size=9, max_size=9), lower=st.lists(st.booleans(), min_size=8, max_size=8)
)
def test_any_spelling_of_a_code_is_that_code(code: str, blanks: list[str], lower: list[bool]) -> None:
    symbols = [symbol.lower() if low else symbol for symbol, low in zip(code, lower, strict=True)]
    spelled = blanks[0] + "".join(symbol + blank for symbol, blank in zip(symbols, blanks[1:], strict=True))
    assert codes.normalise(spelled) == code


@pytest.mark.parametrize("text", ["a7x9-k2m4", "A7X9K2M4", " a7x9 k2m4 ", "A7X9\u2013K2M4", "a-7-x-9-k-2-m-4"])
def test_the_spellings_of_people(text: str) -> None:
    assert codes.normalise(text) == "A7X9K2M4"


@pytest.mark.parametrize(
    "text",
    [
        *("", "A7X9K2M", "A7X9K2M42", "A7X9K2M0", "A7X9K2MI", "A7X9K2ML", "A7X9K2MO", "A7X9K2M1", "A7X9_K2M4"),
        *("A7X9K2M4\x00", "\u04107X9K2M4", "A7X9K2M\u0664", "\ud800" * 8, " " * 1000, "A7X9K2M4" + "-" * 1000),
        *(None, 23456789, b"A7X9K2M4", ["A7X9K2M4"], {"code": "A7X9K2M4"}, True),
    ],
)
def test_what_is_no_code_is_none(text: object) -> None:
    assert codes.normalise(text) is None


@given(text=st.text())
def test_any_text_gives_a_code_or_none(text: str) -> None:
    found = codes.normalise(text)
    assert found is None or (len(found) == 8 and set(found) <= set(codes.ALPHABET))


@given(code=CODES)
def test_people_are_shown_two_groups_that_can_be_typed_again(code: str) -> None:
    assert codes.grouped(code) == f"{code[:4]}-{code[4:]}"
    assert codes.normalise(codes.grouped(code)) == code


def test_logs_are_shown_two_symbols() -> None:
    assert codes.masked("A7X9K2M4") == "A7••••••"


@pytest.mark.parametrize("module", ["codes", "address"])
def test_they_need_neither_django_nor_channels(module: str) -> None:
    script = f"import sys, syncsessions.{module}; sys.exit(any(n in sys.modules for n in ('django', 'channels')))"
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0
