"""This site as other ones know it: the address in SITE_URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from syncsessions import conf
from syncsessions.connections import site_url
from syncsessions.connections.validators import LONGEST_NAME
from syncsessions.exceptions import AccessRefused, InvalidValue


def url() -> str | None:
    """SITE_URL in its one spelling; as it is given where it is no address."""
    given = conf.current().SITE_URL
    try:
        return site_url.canonical(given) if given else None
    except InvalidValue:
        return given


def required() -> str:
    """SITE_URL in its one spelling. Raises `AccessRefused` (disabled) where there is none, or none that can be used."""
    given = conf.current().SITE_URL
    try:
        if given:
            return site_url.normalised(given, insecure=settings.DEBUG)
    except InvalidValue:
        pass
    raise AccessRefused(
        "disabled",
        _(
            "Connections are disabled here. Set SYNCSESSIONS['SITE_URL'] to where other sites reach this one, like "
            "https://a.example/sync."
        ),
    )


def other(text: object, key: str = "site_url") -> str:
    """The address of another site in its one spelling. Raises `InvalidValue`, naming the field `key`."""
    try:
        found = site_url.normalised(text, insecure=settings.DEBUG)
    except InvalidValue as error:
        raise InvalidValue(error.message, key=key) from None
    if found == url():
        raise InvalidValue(_("This is this site's own address: a connection leads to another site."), key=key)
    return found


def name() -> str:
    """What this site calls itself: its host; empty where it has no address."""
    return host_of(url())


def host_of(address: str | None) -> str:
    """By what a site goes that has no name: the host in its address."""
    try:
        return urlsplit(address or "").netloc[:LONGEST_NAME]
    except ValueError:
        return ""
