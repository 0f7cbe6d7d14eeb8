"""Short codes that people read out to each other: drawn, read in any spelling, shown in groups, masked in logs."""

from __future__ import annotations

import re
import secrets

ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""31 symbols that nobody takes for one another."""
LENGTH = 8
_CODE = re.compile(f"[{ALPHABET}]{{{LENGTH}}}")
_IGNORED = re.compile(r"[\s\-\u2010-\u2015\u2212]+")  # blanks, and whatever a keyboard has for a dash


def draw() -> str:
    """A new code: eight symbols from `secrets`."""
    return "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def normalise(text: object) -> str | None:
    """The code in what somebody has typed (case, blanks and dashes ignored), None where there is none in it."""
    if not isinstance(text, str) or len(text) > 10 * LENGTH:
        return None
    code = _IGNORED.sub("", text).upper()
    return code if _CODE.fullmatch(code) else None


def grouped(code: str) -> str:
    """As people are shown it: two groups of four."""
    return f"{code[:4]}-{code[4:]}"


def masked(code: str) -> str:
    """As logs, errors and the admin show it."""
    return f"{code[:2]}••••••"
