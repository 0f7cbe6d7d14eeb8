"""What the live pages say, in the reader's language; their scripts are given the same words."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import pgettext


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


def connection_texts() -> dict[str, str]:
    return {
        **line_texts(),
        "unavailable": _("The database does not answer. What is shown may be out of date; the page keeps trying."),
        "by_peer": _("Set by the other site."),
    }


def connection_words() -> dict[str, dict[str, tuple[str, str]]]:
    """Of a connection's statuses here, and of what its site says: the word, and what it means."""
    active = pgettext("syncsessions", "active")
    return {
        "status": {
            "pending": (_("pending"), _("Nothing passes until it is approved.")),
            "active": (active, ""),
            "suspended": (_("suspended"), _("Nothing passes until that is lifted.")),
            "revoked": (_("revoked"), _("It was ended for good.")),
            "expired": (_("expired"), _("It came to its end.")),
            "over": (_("past its end"), _("Nothing passes any more; it will be marked as expired.")),
            "gone": (_("deleted"), _("It was deleted meanwhile.")),
        },
        "remote": {
            "checking": (_("checking"), _("The other site is being asked.")),
            "active": (active, _("The other site says that this connection is active there.")),
            "suspended": (_("suspended"), _("The other site says that this connection is suspended there.")),
            "revoked": (_("revoked"), _("The other site says that this connection is revoked there.")),
            "pending": (_("pending"), _("The other site says that this connection awaits an approval.")),
            "expired": (_("expired"), _("The other site says that this connection has expired there.")),
            "not_found": (_("not found"), _("The other site knows of no such connection: it was deleted there.")),
            "offline": (_("offline"), _("The other site cannot be reached, or does not answer in time.")),
            "error": (
                _("error"),
                _("The other site gives no answer that could be understood, or this side has nothing to ask with."),
            ),
            "unreachable": (
                _("not reachable"),
                _("The other site cannot be called. It asks by itself for what is new."),
            ),
        },
    }
