"""Frames: what parses, what is refused with which code, what an answer repeats, how fast they may come."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncsessions import frames
from syncsessions.exceptions import FrameError, RateLimited, SyncSessionsError

LIMIT = 1000

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def refusal(text: Any, limit: int = LIMIT) -> dict[str, Any]:
    with pytest.raises(FrameError) as caught:
        frames.parse(text, limit)
    return caught.value.as_dict()


def test_a_frame_is_a_json_object_with_a_type() -> None:
    assert frames.parse('{"type": "ping", "ref": 7}', LIMIT) == {"type": "ping", "ref": 7}


@pytest.mark.parametrize(
    "text",
    [
        None,
        b'{"type": "ping"}',
        "",
        " ",
        "ping",
        "{",
        '{"type": "ping"',
        '{"type": "ping"} {}',
        "[]",
        '[{"type": "ping"}]',
        "null",
        "1",
        '"ping"',
        "{}",
        '{"type": null}',
        '{"type": 1}',
        '{"type": ["ping"]}',
        '{"type": {"ping": 1}}',
        '{"type": "ping", "a": NaN}',
        '{"type": "ping", "a": -Infinity}',
        "{'type': 'ping'}",
        '\ufeff{"type": "ping"}',
        '{"type": "ping", "a": ' + "9" * 5000 + "}",
        '{"type": "ping", "a": ' + "[" * 200_000 + "]" * 200_000 + "}",
        '{"a":' * 100_000 + "1" + "}" * 100_000,
    ],
)
def test_all_else_is_a_bad_frame(text: Any) -> None:
    assert refusal(text, limit=10_000_000)["code"] == "bad_frame"


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert frames.parse('{"type": "a", "type": "b"}', LIMIT) == {"type": "b"}


def test_the_limit_counts_bytes_and_is_told() -> None:
    start = '{"type":"'
    fits = start + "x" * (LIMIT - len(start) - 2) + '"}'
    assert len(fits) == LIMIT
    assert frames.parse(fits, LIMIT)
    assert refusal(fits + " ")["code"] == "too_large"
    assert refusal(fits + " ")["limit"] == LIMIT
    umlauts = start + "ü" * (LIMIT // 2) + '"}'
    assert len(umlauts) < LIMIT
    assert refusal(umlauts)["code"] == "too_large"


def test_lone_surrogates_neither_break_the_parser_nor_the_answer() -> None:
    frame = frames.parse('{"type": "\ud800", "ref": "\\udfff"}', LIMIT)
    assert frames.ref_of(frame) == {}
    assert refusal("\ud800" * LIMIT)["code"] == "too_large"


@pytest.mark.parametrize("ref", ["", "a", "ü" * 200, 0, -5, 10**150])
def test_a_ref_is_text_or_a_whole_number(ref: object) -> None:
    assert frames.ref_of({"type": "ping", "ref": ref}) == {"ref": ref}


@pytest.mark.parametrize("ref", [None, True, 1.5, [], {}, "x" * 201, 10**250, "\ud800"])
def test_any_other_ref_is_not_repeated(ref: object) -> None:
    assert frames.ref_of({"type": "ping", "ref": ref}) == {}


def test_an_error_repeats_the_ref() -> None:
    error = frames.error_frame(RateLimited("Slow down.", retry_after=2), {"type": "x", "ref": "r"})
    assert error == {"type": "error", "ref": "r", "code": "rate_limited", "message": "Slow down.", "retry_after": 2}
    assert frames.error_frame(SyncSessionsError("Oh."))["message"] == "Oh."


def test_a_frame_without_a_type_is_refused_with_its_ref() -> None:
    assert refusal('{"ref": 9}')["ref"] == 9


def test_a_burst_then_the_rate() -> None:
    allowance = frames.Allowance(rate=10, burst=3, now=100.0)
    assert [allowance.take(100.0) for _ in range(3)] == [0, 0, 0]
    wait = allowance.take(100.0)
    assert 0 < wait <= 0.101
    assert allowance.take(100.0 + wait) == 0
    assert allowance.take(100.0 + wait) > 0


def test_an_allowance_never_saves_up_more_than_a_burst() -> None:
    allowance = frames.Allowance(rate=10, burst=3, now=0.0)
    assert [allowance.take(1e6) > 0 for _ in range(4)] == [False, False, False, True]


def test_what_is_refused_costs_nothing() -> None:
    allowance = frames.Allowance(rate=1, burst=1, now=0.0)
    allowance.take(0.0)
    waits = [allowance.take(0.5) for _ in range(50)]
    assert max(waits) <= 0.501
    assert allowance.take(1.0) == 0


def test_what_is_behind_a_refused_frame_waits_until_it_comes_again() -> None:
    turn = frames.Turn()
    first, second, third = ({"type": "x", "ref": ref} for ref in ("first", "second", 3))
    assert turn.wait(first, 0.0) == 0
    turn.refused(first, 0.0)
    assert turn.wait(second, 1.0) == frames.WAIT_FOR_TURN - 1
    turn.refused(second, 1.0)
    assert turn.wait({"type": "x"}, 1.0) > 0
    assert turn.wait(first, 1.0) == 0
    assert turn.wait(second, 1.0) == 0
    turn.refused(second, 1.0)
    assert turn.wait(third, 1.0 + frames.WAIT_FOR_TURN) == 0


def test_a_refused_frame_without_a_ref_holds_up_nobody() -> None:
    turn = frames.Turn()
    for ref in ({}, {"ref": None}, {"ref": True}, {"ref": "x" * 999}):
        turn.refused({"type": "x", **ref}, 0.0)
        assert turn.wait({"type": "x", "ref": 1}, 0.0) == turn.wait({"type": "x"}, 0.0) == 0


@patient
@given(st.text() | st.binary() | st.none())
def test_parsing_raises_nothing_but_frame_errors(text: Any) -> None:
    try:
        frames.parse(text, 100)
    except FrameError as error:
        json.dumps(error.as_dict())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@patient
@given(st.dictionaries(st.sampled_from(["type", "ref", "view", "x"]), json_values))
def test_what_parses_is_what_was_sent(frame: dict[str, Any]) -> None:
    try:
        parsed = frames.parse(json.dumps(frame), 10**6)
    except FrameError as error:
        assert not isinstance(frame.get("type"), str)
        assert error.code == "bad_frame"
    else:
        assert parsed == frame
        assert frames.ref_of(parsed) in ({}, {"ref": frame.get("ref")})
