"""What another site's refusal becomes, whatever it says."""

from __future__ import annotations

from typing import Any

import pytest

from syncsessions.connections.refusals import LONGEST, error_of, is_refusal, one_line
from syncsessions.exceptions import SiteUnavailable


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (400, {"code": "invalid_value"}, "invalid_value"),
        (400, {"code": "bad_frame"}, "bad_frame"),
        (400, {"code": "made_up"}, "invalid_value"),
        (400, {"code": ["invalid_value"]}, "invalid_value"),
        (400, {}, "invalid_value"),
        (401, {"code": "invalid_password"}, "invalid_password"),
        (401, {}, "invalid_token"),
        (403, {"code": "outside_hours"}, "outside_hours"),
        (403, {"code": "rate_limited"}, "denied"),
        (404, {"exists": False}, "site_unavailable"),
        (404, {"code": "not_found"}, "not_found"),
        (409, {"code": "invalid_transition"}, "invalid_transition"),
        (413, {}, "too_large"),
        (429, {"code": "denied"}, "rate_limited"),
        (500, {"code": "denied"}, "site_unavailable"),
        (503, {"code": "disabled"}, "disabled"),
        (503, {"code": "denied"}, "site_unavailable"),
        (503, {}, "site_unavailable"),
        (302, {"code": "denied"}, "site_unavailable"),
        (200, {"code": "denied"}, "site_unavailable"),
    ],
)
def test_the_code(status: int, said: dict[str, Any], code: str) -> None:
    assert error_of(status, said).code == code


@pytest.mark.parametrize("said", [None, 7, ["x"], {"a": 1}])
def test_what_is_no_text_is_not_shown(said: Any) -> None:
    assert "“" not in str(error_of(409, {"code": "invalid_transition", "message": said}))


def test_words_are_one_short_plain_line() -> None:
    shown = one_line("\x1b[31mNo\r\n\n  way\x00\u202e " + "long " * 1000)
    assert shown.startswith("[31mNo way long")
    assert shown.isprintable()
    assert len(shown) == LONGEST
    assert one_line("No way.") == "No way."


def test_what_may_be_a_token_is_not_shown() -> None:
    token = "aB3-_" * 9
    assert token[:20] not in one_line(f"I know {token}, ha")
    assert token[:20] not in one_line(token[:43])


def test_our_own_sentence_goes_first() -> None:
    told = str(error_of(400, {"code": "invalid_value", "message": "Theirs."}, {"invalid_value": "Ours."}))
    assert told.startswith("Ours.") and "Theirs." in told
    assert str(error_of(403, {"code": "denied", "message": "Theirs."}, {"denied": "Ours."})) == "Ours."


@pytest.mark.parametrize(("status", "refusal"), [(400, True), (408, False), (409, True), (499, True), (500, False)])
def test_what_is_known_not_to_be_done(status: int, refusal: bool) -> None:
    assert is_refusal(status) is refusal
    if status == 500:
        assert isinstance(error_of(status, {}), SiteUnavailable)
