"""Numbers on a command line."""

from __future__ import annotations

from argparse import ArgumentTypeError

YEAR = 365 * 86_400  # seconds


def seconds(text: str) -> float:
    """For argparse: a positive number of seconds, a year at most."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= YEAR:  # refuses nan as well
        raise ArgumentTypeError("give a positive number of seconds, a year at most")
    return value
