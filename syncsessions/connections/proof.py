"""The proof that an address is its bearer's: the site there knows the token that was offered in its name."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from syncsessions.connections import calls
from syncsessions.exceptions import InvalidValue, SiteUnavailable


@sensitive_variables("token")
def prove(site_url: str, token: str, *, key: str) -> None:
    """Ask the site whether it knows a link by this token. Raises `InvalidValue`, naming the field `key`.

    One error for whatever is wrong: who asks learns nothing of what this site can reach.
    """
    try:
        answer = calls.call("GET", site_url, "api/status", token=token)
    except SiteUnavailable:
        raise _refused(key) from None
    link = answer.fields.get("connection")
    if answer.status != 200 or not isinstance(link, dict) or link.get("exists") is not True:
        raise _refused(key)


def _refused(key: str) -> InvalidValue:
    message = _("The site at this address did not confirm the link. Check the address, and that it can be reached.")
    return InvalidValue(message, key=key)
