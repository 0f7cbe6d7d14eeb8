"""Pages of a list, counted from 1."""

from __future__ import annotations


def page_number(text: object) -> int:
    """The page that a query string asks for; the first where it says nothing sensible."""
    return int(text) if isinstance(text, str) and text.isdecimal() and len(text) < 10 else 1


def placed(page: int, total: int, size: int) -> tuple[int, int]:
    """The page there is nearest to the one asked for, and how many there are: one at least."""
    pages = max(1, -(-total // size))
    return min(max(page, 1), pages), pages
