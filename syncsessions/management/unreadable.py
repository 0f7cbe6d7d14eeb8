"""What a command says where the database does not do its part."""

from __future__ import annotations

from django.utils.translation import gettext as _

from syncsessions.status.locations import shown_error


def unreadable(error: Exception) -> str:
    """One sentence, with the database's own words where there are some."""
    cause = f" ({shown_error(error)})" if error.__cause__ else ""
    return _("The connections cannot be read: %(error)s%(cause)s") % {"error": error, "cause": cause}
