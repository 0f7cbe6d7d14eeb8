"""Operations are judged once, before any backend hears of them."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import pytest
from django.utils.safestring import mark_safe

from syncsessions.exceptions import InvalidValue
from syncsessions.stores import operations
from syncsessions.stores.operations import MAX_ID, MAX_TTL, MAX_WHOLE
from syncsessions.stores.record import Rate


class Name(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


def create(**changes: Any) -> operations.Create:
    given = {"namespace": "n", "id": "a", "data": {}, "ttl": 1, "limit": None, "rate": None}
    return operations.create(**{**given, **changes})


def replace(**changes: Any) -> operations.Replace:
    given = {"namespace": "n", "id": "a", "data": {}, "revision": 1, "ttl": None, "life": None}
    return operations.replace(**{**given, "log": None, "keep": 100, "log_drop": 0, **changes})


EACH: list[operations.Operation] = [
    create(namespace="CODE", id="CODE", data={"CODE": "CODE"}),
    replace(namespace="CODE", id="CODE", data={"CODE": "CODE"}, life="CODE", log="CODE"),
    operations.get("CODE", "CODE"),
    operations.delete("CODE", "CODE", "CODE"),
    operations.touch("CODE", "CODE", 1, "CODE"),
    operations.count("CODE"),
    operations.list_("CODE", 0, None),
    operations.expire("CODE", 1),
    operations.read_log("CODE", "CODE", None),
    operations.hit("CODE", "1/s"),
    operations.unhit("CODE", "CODE"),
    operations.Ping(),
]


@pytest.mark.parametrize("operation", EACH, ids=lambda operation: type(operation).__name__)
def test_none_shows_what_it_is_about(operation: operations.Operation) -> None:
    assert "CODE" not in f"{operation!r} {operation}"
    assert type(operation).__name__ in repr(operation)


def test_create() -> None:
    made = create(data={"b": (1,), "a": "é"}, ttl=60, limit=5, rate="10/m")
    assert made[:2] == ("n", "a")
    assert made[3:] == ({"b": [1], "a": "é"}, '{"b": [1], "a": "é"}', 60.0, 5, Rate(10, 60))
    assert len(made.life) == 16


def test_lives_are_random_whoever_sows() -> None:
    random.seed(1)
    lives = [create().life for _ in range(100)]
    random.seed(1)
    tokens = [operations.hit("k", "1/s").token for _ in range(100)]
    assert len({*lives, *tokens}) == 200


FORK = """
import os
from syncsessions.stores.operations import hit
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        os.write(1, f"{hit('k', '1/s').token}\\n".encode())
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
print(hit("k", "1/s").token)
"""


def test_they_differ_in_forked_processes() -> None:
    told = subprocess.run([sys.executable, "-W", "error", "-c", FORK], capture_output=True, text=True, check=True)
    assert len(set(told.stdout.split())) == 4, told


def test_names_are_plain_text_at_last() -> None:
    for text in (mark_safe("a"), Name.A):
        assert type(create(id=text).id) is str
        assert create(id=text).id == "a"


@pytest.mark.parametrize("length", [1, MAX_ID])
@pytest.mark.parametrize("letter", ["a", "é", "😀"])
def test_the_longest_names(letter: str, length: int) -> None:
    assert operations.get(letter * length, letter * length) == (letter * length, letter * length)


TAKE_NAMES: list[Callable[[Any], object]] = [
    lambda text: create(namespace=text),
    lambda text: create(id=text),
    lambda text: replace(namespace=text),
    lambda text: replace(id=text),
    lambda text: operations.get(text, "a"),
    lambda text: operations.get("n", text),
    lambda text: operations.delete(text, "a", None),
    lambda text: operations.delete("n", text, None),
    lambda text: operations.touch(text, "a", 1, None),
    lambda text: operations.touch("n", text, 1, None),
    lambda text: operations.count(text),
    lambda text: operations.list_(text, 0, None),
    lambda text: operations.expire(text, 1),
    lambda text: operations.read_log(text, "a", None),
    lambda text: operations.read_log("n", text, None),
    lambda text: operations.hit(text, "1/s"),
    lambda text: operations.unhit(text, "token"),
]


@pytest.mark.parametrize("bad", ["", "a" * 201, "😀" * 201, "a\x00", "\ud800", None, 7, b"a", ["a"]], ids=ascii)
@pytest.mark.parametrize("take", TAKE_NAMES)
def test_bad_names(take: Callable[[Any], object], bad: Any) -> None:
    with pytest.raises(InvalidValue):
        take(bad)


@pytest.mark.parametrize("bad", [7, b"a", "a\x00", "\ud800", "a" * 201], ids=ascii)
def test_bad_lives_and_tokens(bad: Any) -> None:
    for take in (
        lambda: replace(life=bad),
        lambda: operations.touch("n", "a", 1, bad),
        lambda: operations.delete("n", "a", bad),
        lambda: operations.unhit("k", bad),
    ):
        with pytest.raises(InvalidValue):
            take()


@pytest.mark.parametrize("data", [{"a": 1}, OrderedDict(a=1), MappingProxyType({"a": 1})], ids=repr)
def test_data_is_any_mapping(data: Any) -> None:
    for made in (create(data=data), replace(data=data)):
        assert (type(made.data), made.data, made.text) == (dict, {"a": 1}, '{"a": 1}')


@pytest.mark.parametrize("ttl", [1, 0.001, MAX_TTL, Number.ONE], ids=repr)
def test_ttls(ttl: Any) -> None:
    for found in (create(ttl=ttl).ttl, replace(ttl=ttl).ttl, operations.touch("n", "a", ttl, None).ttl):
        assert found == ttl
        assert type(found) is float


@pytest.mark.parametrize(
    "bad", [0, -1, 0.0, float("nan"), float("inf"), MAX_TTL + 1, 10**400, True, "1", None, 1j, [1]], ids=str
)
def test_bad_ttls(bad: Any) -> None:
    for take in (lambda: create(ttl=bad), lambda: operations.touch("n", "a", bad, None)):
        with pytest.raises(InvalidValue):
            take()
    if bad is not None:
        with pytest.raises(InvalidValue):
            replace(ttl=bad)


TAKE_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "limit": lambda number: create(limit=number).limit,
    "revision": lambda number: replace(revision=number).revision,
    "keep": lambda number: replace(keep=number).keep,
    "log_drop": lambda number: replace(log_drop=number).drop,
    "offset": lambda number: operations.list_("n", number, None).offset,
    "list": lambda number: operations.list_("n", 0, number).limit,
    "expire": lambda number: operations.expire("n", number).limit,
    "read_log": lambda number: operations.read_log("n", "a", number).limit,
}


@pytest.mark.parametrize("name", TAKE_NUMBERS)
def test_numbers(name: str) -> None:
    take = TAKE_NUMBERS[name]
    assert [take(number) for number in (0, 1, Number.ONE, MAX_WHOLE)] == [0, 1, 1, MAX_WHOLE]
    assert type(take(Number.ONE)) is int
    assert take(10**400) == MAX_WHOLE
    for bad in (-1, 1.0, "1", True, [1]):
        with pytest.raises(InvalidValue):
            take(bad)


def test_log_entries_are_json() -> None:
    assert replace().entry is None
    assert replace(log=[1, "é", (2,)]).entry == '[1, "é", [2]]'
    assert replace(log=0).entry == "0"
    with pytest.raises(InvalidValue) as caught:
        replace(log={"at": {1}})
    assert caught.value.details["key"] == "log"
    assert "at" in caught.value.details["path"]
