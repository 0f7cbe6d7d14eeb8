"""What the live pages say, in the reader's language; their scripts are given the same words."""

from __future__ import annotations

from django.utils.translation import gettext as _


def labels() -> dict[str, dict[str, str]]:
    """A session's fields in words."""
    return {
        "direction": {"send": _("sends"), "receive": _("receives")},
        "status": {
            "pending": _("pending"),
            "connected": _("connected"),
            "completed": _("completed"),
            "failed": _("failed"),
        },
    }


def line_texts() -> dict[str, str]:
    """What every live page says of its line to the server."""
    return {
        "connecting": _("Connecting…"),
        "live": _("Live"),
        "trying": _("Trying again…"),
        "polling": _("Updated every few seconds"),
        "offline": _("The server does not answer. Trying again…"),
        "logged_out": _("You were logged out. Reload the page to log in again."),
        "not_allowed": _("You may no longer see this list."),
        "page": _("Page %(page)s of %(pages)s"),
    }


def texts() -> dict[str, str]:
    return {
        **line_texts(),
        "unavailable": _(
            "The store of the sync sessions does not answer. What is shown may be out of date; the page keeps trying."
        ),
        "counted": _("By status: the newest %(counted)s."),
        "ended": _("Ended: %(codes)s."),
        "late": _("Had ended already: %(codes)s."),
        "failed": _("Could not end %(codes)s: %(message)s"),
        "warning": _(
            "Both sides of a sync session are told at once that it was ended, and its code becomes invalid. This "
            "cannot be undone."
        ),
    }


def process_texts() -> dict[str, str]:
    return {
        **line_texts(),
        "unavailable": _(
            "The store of the processes does not answer. What is shown may be out of date; the page keeps trying."
        ),
        "matching": _("Of this class: %(shown)s of the %(read)s processes on this page."),
        "touched": _("Touched: %(codes)s."),
        "terminated": _("Terminated: %(codes)s."),
        "late": _("Had ended already: %(codes)s."),
        "failed": _("%(codes)s: %(message)s"),
        "gone": _("This process has ended. Below is what was last seen of it."),
        "empty": _("Empty"),
        "more": _("… %(count)s more"),
        "cut": _("… %(count)s more characters"),
        "warning": _(
            "The state of a terminated process is gone, and whoever watches it is told at once. This cannot be undone."
        ),
    }


def clock(seconds: float) -> str:
    """A span of time as a stop-watch shows it."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
