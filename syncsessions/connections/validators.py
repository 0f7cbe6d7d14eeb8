"""What a form may put into a connection's fields."""

from __future__ import annotations

import re
from ipaddress import ip_network

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from syncsessions.exceptions import InvalidValue
from syncsessions.stores.record import parse_rate

LONGEST_NAME = 100  # characters
LONGEST_REASON = 500  # characters

_LABEL = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")


def validate_labels(value: object) -> None:
    """A list of model labels."""
    if not _are_texts(value) or not all(_LABEL.fullmatch(text) for text in value):  # type: ignore[attr-defined]
        raise ValidationError(_('Give a list of models, like ["shop.Order", "shop.Customer"].'))


def validate_networks(value: object) -> None:
    """A list of addresses or networks."""
    try:
        if not _are_texts(value):
            raise ValueError
        for text in value:  # type: ignore[attr-defined]
            ip_network(text, strict=False)
    except ValueError:
        raise ValidationError(_('Give a list of networks, like ["192.0.2.0/24", "2001:db8::/32"].')) from None


def validate_rate(value: str) -> None:
    try:
        parse_rate(value)
    except InvalidValue:
        raise ValidationError(_('Give a rate like "60/m": so many per second (s), minute (m) or hour (h).')) from None


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
