"""Every error that the library raises: a stable code for programs, a sentence for people."""

from __future__ import annotations

from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class SyncSessionsError(Exception):
    """Base of all errors. `code` is stable, `str(error)` is for people, `details` go into `as_dict()`."""

    code = "error"
    default_message: str | Promise = _("Something went wrong.")

    def __init__(self, message: str | Promise | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = self.default_message if message is None else message
        self.details = details

    def __str__(self) -> str:
        return str(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)

    def as_dict(self) -> dict[str, Any]:
        """The error as a client is told it: `{"code", "message", **details}`."""
        return {"code": self.code, "message": str(self), **self.details}


def _restore(kind: type[SyncSessionsError], args: tuple[Any, ...], state: dict[str, Any]) -> SyncSessionsError:
    """Errors travel between processes whatever their constructors ask for."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidSessionId(SyncSessionsError):
    code = "invalid_session_id"
    default_message = _("This is not a valid session id.")


class AlreadyExists(SyncSessionsError):
    code = "already_exists"
    default_message = _("This id is taken already.")


class NotFound(SyncSessionsError):
    code = "not_found"
    default_message = _("There is nothing under this id; it may have expired.")


class SessionNotFound(NotFound):
    code = "session_not_found"
    default_message = _("There is no such session; it may have expired.")


class SessionLimitReached(SyncSessionsError):
    code = "session_limit_reached"
    default_message = _("There are too many sessions. Try again when some have ended.")


class RateLimited(SyncSessionsError):
    """`retry_after` is the number of seconds after which a new try may pass."""

    code = "rate_limited"
    default_message = _("Too many requests. Wait a moment and try again.")

    def __init__(self, message: str | Promise | None = None, *, retry_after: float, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after


class InvalidCode(SyncSessionsError):
    code = "invalid_code"
    default_message = _("This code is not valid. Check it, or ask for a new one.")


class AlreadyUsed(SyncSessionsError):
    code = "already_used"
    default_message = _("This code was used already. Ask for a new one.")


class InvalidValue(SyncSessionsError):
    code = "invalid_value"
    default_message = _("This value cannot be stored.")


class UnknownAction(SyncSessionsError):
    code = "unknown_action"
    default_message = _("Nothing here handles this action.")


class CallTimeout(SyncSessionsError):
    code = "timeout"
    default_message = _("No answer came in time.")


class CallFailed(SyncSessionsError):
    code = "call_failed"
    default_message = _("The call failed; the state is unchanged.")


class CastFailed(SyncSessionsError):
    code = "cast_failed"
    default_message = _("The cast failed; the state is unchanged.")


class Conflict(SyncSessionsError):
    """`record` is what a store holds instead, where it has said so."""

    code = "conflict"
    record: Any = None
    default_message = _("This was changed or removed meanwhile. Read it again.")


class InvalidTransition(SyncSessionsError):
    code = "invalid_transition"
    default_message = _("This step is not possible from the present status.")


class StoreUnavailable(SyncSessionsError):
    code = "store_unavailable"
    default_message = _("The store does not answer; whether this was done is not known. Try again.")


class SiteUnavailable(SyncSessionsError):
    """The other site gave no useful answer. `offline` where it could not be reached, or not in time."""

    code = "site_unavailable"
    default_message = _("The other site does not answer as it should. Check its address, and try again later.")

    def __init__(self, message: str | Promise | None = None, *, offline: bool = False) -> None:
        super().__init__(message)
        self.offline = offline


class _WithCode(SyncSessionsError):
    """An error family whose members differ by code alone."""

    messages: dict[str, str | Promise] = {}

    def __init__(self, code: str, message: str | Promise | None = None, **details: Any) -> None:
        if code not in self.messages:
            raise ValueError(f"{code!r} is not a code of {type(self).__name__}")
        super().__init__(self.messages[code] if message is None else message, **details)
        self.code = code


class AccessRefused(_WithCode):
    """The caller may not do this; `code` says why."""

    messages = {
        "invalid_token": _("The token is not valid."),
        "not_active": _("The connection is not active."),
        "expired": _("The connection has expired."),
        "download_limit": _("The connection's download limit is reached."),
        "record_limit": _("The connection's record limit is reached."),
        "ip_not_allowed": _("Requests from this address are not allowed."),
        "outside_hours": _("Requests are not allowed at this hour."),
        "denied": _("The request was denied."),
        "disabled": _("This is disabled here."),
        "invalid_password": _("The password is not right."),
        "not_allowed": _("This is not allowed here."),
    }


class FrameError(_WithCode):
    """A frame that a socket or its HTTP mirror cannot take."""

    messages = {
        "bad_frame": _("This is not a valid frame."),
        "unknown_type": _("There is no such frame type."),
        "too_large": _("The frame is too large."),
        "not_in_session": _("Open or join a session first."),
        "already_open": _("A session is open here already."),
        "window_full": _("Too many frames are under way. Wait until some are acknowledged."),
    }
