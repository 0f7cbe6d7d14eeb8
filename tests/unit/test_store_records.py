"""What a store gives back, and the rates that it counts by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from syncsessions.exceptions import InvalidValue
from syncsessions.stores.record import Rate, Record, moment, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1/s", (1, 1)), ("100/m", (100, 60)), ("20/h", (20, 3600)), ("999999999/h", (999_999_999, 3600))],
)
def test_rates(text: str, rate: tuple[int, float]) -> None:
    assert parse_rate(text) == Rate(*rate)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "1",
        "/s",
        "0/s",
        "01/s",
        "-1/s",
        "1.5/s",
        "1/d",
        "1/S",
        "1 /s",
        "1/s\n",
        "٣/s",
        "1000000000/s",
        1,
        None,
        b"1/s",
    ],
    ids=repr,
)
def test_what_is_no_rate(bad: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_rate(bad)
    assert "100/m" in str(caught.value)


def test_moments_are_aware_and_fine() -> None:
    assert moment(0.25) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=0.25)
    assert moment(0.25).tzinfo is UTC


def test_a_record_shows_neither_its_id_nor_its_data() -> None:
    record = Record("pairing", "A7X9K2M4", "abc", {"secret": 1}, 7, moment(0), moment(1))
    for text in (repr(record), str(record), f"{record}", repr([record])):
        assert "A7X9" not in text
        assert "secret" not in text
        assert "pairing" in text
        assert "7" in text
