"""The errors' codes are the library's interface."""

from __future__ import annotations

import json
import pickle

import pytest
from django.utils import translation

from syncsessions import exceptions
from syncsessions.exceptions import AccessRefused, FrameError, InvalidValue, RateLimited, SyncSessionsError

CODES = {
    "InvalidSessionId": "invalid_session_id",
    "AlreadyExists": "already_exists",
    "NotFound": "not_found",
    "SessionNotFound": "session_not_found",
    "SessionLimitReached": "session_limit_reached",
    "InvalidCode": "invalid_code",
    "AlreadyUsed": "already_used",
    "InvalidValue": "invalid_value",
    "UnknownAction": "unknown_action",
    "CallTimeout": "timeout",
    "CallFailed": "call_failed",
    "CastFailed": "cast_failed",
    "Conflict": "conflict",
    "InvalidTransition": "invalid_transition",
    "StoreUnavailable": "store_unavailable",
}
REFUSALS = (
    "invalid_token not_active expired download_limit record_limit ip_not_allowed outside_hours "
    "denied disabled invalid_password not_allowed"
).split()
FRAMES = "bad_frame unknown_type too_large not_in_session already_open window_full".split()


@pytest.mark.parametrize(("name", "code"), CODES.items())
def test_codes(name: str, code: str) -> None:
    error = getattr(exceptions, name)()
    assert isinstance(error, SyncSessionsError)
    assert error.code == code
    told = error.as_dict()
    assert told == {"code": code, "message": str(error)}
    assert len(told["message"]) > 10
    json.dumps(told)


def test_a_lost_session_is_not_found() -> None:
    assert issubclass(exceptions.SessionNotFound, exceptions.NotFound)


@pytest.mark.parametrize(("family", "codes"), [(AccessRefused, REFUSALS), (FrameError, FRAMES)])
def test_families_have_a_code_for_each_cause(family: type[AccessRefused | FrameError], codes: list[str]) -> None:
    assert set(family.messages) == set(codes)
    for code in codes:
        error = family(code, limit=3)
        assert error.as_dict() == {"code": code, "message": str(error), "limit": 3}
    with pytest.raises(ValueError, match="made_up"):
        family("made_up")


def test_rate_limited_says_when_to_come_again() -> None:
    error = RateLimited(retry_after=2.5)
    assert (error.code, error.retry_after) == ("rate_limited", 2.5)
    assert error.as_dict()["retry_after"] == 2.5


def test_own_words_and_details() -> None:
    error = InvalidValue("Too blue.", key="colour", path="a[0]")
    assert str(error) == "Too blue."
    assert error.as_dict() == {"code": "invalid_value", "message": "Too blue.", "key": "colour", "path": "a[0]"}


def test_messages_wait_for_the_readers_language() -> None:
    error = exceptions.StoreUnavailable()
    with translation.override("en"):
        assert isinstance(error.as_dict()["message"], str)
    assert isinstance(pickle.loads(pickle.dumps(str(error))), str)


@pytest.mark.parametrize(
    "error",
    [
        RateLimited(retry_after=1.5),
        FrameError("too_large", limit=9),
        AccessRefused("denied"),
        InvalidValue("no", key="k"),
    ],
)
def test_errors_travel_between_processes(error: SyncSessionsError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.as_dict() == error.as_dict()
    assert getattr(copy, "retry_after", None) == getattr(error, "retry_after", None)
