"""The body of a request: one JSON object, and the fields in it. Judged whole, before anything else is done."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.utils.translation import gettext as _

from syncsessions.connections import flow, tokens
from syncsessions.connections.validators import LONGEST_NAME as LONGEST_NAME
from syncsessions.connections.validators import LONGEST_REASON as LONGEST_REASON
from syncsessions.exceptions import FrameError, InvalidValue
from syncsessions.json_values import JSON, check_text, judge

BODY_LIMIT = 16 * 1024  # bytes
LONGEST_PASSWORD = 1000  # characters
LONGEST_CODE = 80  # characters, blanks and dashes included
LARGEST_SEQ = 2**63 - 1

Fields = dict[str, JSON]


def parse(body: bytes) -> Fields:
    """The object in a body. Raises `FrameError` (bad_frame, too_large) and `InvalidValue`."""
    if len(body) > BODY_LIMIT:
        raise too_large()
    try:
        found = json.loads(body.decode(), parse_constant=_refuse, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise FrameError("bad_frame", _("The body is one JSON object in UTF-8, no name in it twice."))
    return judge(found)[0]


def too_large() -> FrameError:
    return FrameError("too_large", _("A body may have %d bytes.") % BODY_LIMIT, limit=BODY_LIMIT)


def text(fields: Fields, name: str, longest: int) -> str:
    """A field that has to be there."""
    try:
        return check_text(fields.get(name), f"“{name}”", longest)
    except InvalidValue as error:
        raise InvalidValue(error.message, key=name) from None


def optional(fields: Fields, name: str, longest: int) -> str | None:
    """A field that may be missing, or null."""
    return None if fields.get(name) is None else text(fields, name, longest)


def line(fields: Fields, name: str, longest: int) -> str:
    """A field that has to be there, on one line, without what would steer the terminal or the page that shows it."""
    return " ".join("".join(each if each.isprintable() else " " for each in text(fields, name, longest)).split())


def optional_line(fields: Fields, name: str, longest: int) -> str:
    """The same of a field that may be missing, or null: then it is empty."""
    return "" if fields.get(name) is None else line(fields, name, longest)


def token(fields: Fields) -> str:
    given = fields.get("token")
    if not tokens.is_token(given):
        raise InvalidValue(_("A token has 43 characters: letters, digits, “-” and “_”."), key="token")
    return str(given)


def optional_token(fields: Fields) -> str | None:
    return None if fields.get("token") is None else token(fields)


def status(fields: Fields) -> str:
    given = fields.get("status")
    if not isinstance(given, str) or given not in flow.STATUSES:
        raise InvalidValue(_("A status is one of %s.") % ", ".join(flow.STATUSES), key="status")
    return given


def seq(fields: Fields) -> int | None:
    given = fields.get("seq")
    if given is None:
        return None
    whole = isinstance(given, int) or (isinstance(given, float) and given.is_integer())
    if isinstance(given, bool) or not whole or not 0 <= given <= LARGEST_SEQ:
        raise InvalidValue(_("“seq” is a whole number from 0 to %d.") % LARGEST_SEQ, key="seq")
    return int(given)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found
