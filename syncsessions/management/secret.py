"""Secrets that a command is told without standing in the list of processes."""

from __future__ import annotations

import sys
from getpass import getpass

ASK = "-"
"""What an option holds that was given without a value."""


def told(value: str | None, prompt: str) -> str | None:
    """The value of such an option: as given, else typed without an echo, else the first line of what is piped in."""
    if value != ASK:
        return value
    return getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
