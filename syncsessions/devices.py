"""A browser's own word of what it is, in words that its owner knows it by: "Firefox on Android"."""

from __future__ import annotations

import re

from django.utils.translation import gettext as _

LOOK_AT = 400  # characters of a user agent
# The first that matches: nearly all say that they are Safari, and many that they are Chrome.
_BROWSERS = [
    ("Edge", re.compile(r"\bEdg(e|A|iOS)?/")),
    ("Opera", re.compile(r"\b(OPR|OPiOS|Opera)/")),
    ("Samsung Internet", re.compile(r"\bSamsungBrowser/")),
    ("Vivaldi", re.compile(r"\bVivaldi/")),
    ("Firefox", re.compile(r"\b(Firefox|FxiOS|Focus)/")),
    ("Chromium", re.compile(r"\bChromium/")),
    ("Chrome", re.compile(r"\b(Headless)?(Chrome|CriOS)/")),
    ("Safari", re.compile(r"\bVersion/[\d.]+ .*Safari/")),
]
_SYSTEMS = [
    ("iPhone", re.compile(r"\biPhone\b")),
    ("iPad", re.compile(r"\biPad\b")),
    ("Android", re.compile(r"\bAndroid\b")),
    ("ChromeOS", re.compile(r"\bCrOS\b")),
    ("Windows", re.compile(r"\bWindows\b")),
    ("macOS", re.compile(r"\bMac OS X\b|\bMacintosh\b")),
    ("Linux", re.compile(r"\bLinux\b|\bX11\b")),
]


def device_of(user_agent: str) -> str:
    """The browser and the system that a User-Agent header names. The client's word: a picture, not a proof."""
    seen = user_agent[:LOOK_AT]
    browser = _first(_BROWSERS, seen) or _("A browser")
    system = _first(_SYSTEMS, seen)
    if system is None:
        return browser if _first(_BROWSERS, seen) else _("An unknown device")
    if system in ("iPhone", "iPad"):
        return _("%(browser)s on an %(device)s") % {"browser": browser, "device": system}
    return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}


def _first(names: list[tuple[str, re.Pattern[str]]], text: str) -> str | None:
    return next((name for name, pattern in names if pattern.search(text)), None)
