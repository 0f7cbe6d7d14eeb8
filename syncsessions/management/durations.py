"""Lengths of time for people."""

from __future__ import annotations

from django.utils.translation import ngettext

DAY, HOUR, MINUTE = 86_400, 3600, 60


def duration(length: float) -> str:
    """Seconds as people say them, in the largest unit that needs no fraction."""
    if length % DAY == 0:
        text, count = ngettext("%(count)d day", "%(count)d days", int(length // DAY)), length / DAY
    elif length % HOUR == 0:
        text, count = ngettext("%(count)d hour", "%(count)d hours", int(length // HOUR)), length / HOUR
    elif length % MINUTE == 0:
        text, count = ngettext("%(count)d minute", "%(count)d minutes", int(length // MINUTE)), length / MINUTE
    else:
        text, count = ngettext("%(count)s second", "%(count)s seconds", 1 if length == 1 else 2), length
    return text % {"count": f"{count:g}" if "%(count)s" in text else int(count)}
