"""The contract of every store, in both forms: records, their revisions, lives and deadlines."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from syncsessions.exceptions import AlreadyExists, Conflict, InvalidValue, NotFound
from tests.stores import PATIENCE, Store, gone, passed

SOON = 0.2  # seconds, a ttl to wait for
EQUAL_UNDER_COLLATIONS = [
    *("a", "A", "a ", " a", "a\t", "á", "a\u0301", "a\u200b", "\uff41", "\u00aa", "%", "_", "*", "?", "[a]"),
    *("Straße", "Strasse", "STRASSE", "ﬁ", "fi", "I", "i", "\u0131", "İ", "1", "\u0661", "😀", "😁", "\u2764\ufe0f"),
    *(
        "\u2764",
        "\u212b",
        "\u00c5",
        "A\u030a",
        "a:b",
        "a{b}",
        "a\nb",
        "a\\",
        "'",
        '"',
        "\x01",
        "\x7f",
        "\ufeffa",
        "\U0010ffff",
    ),
]
JSON_VALUES: list[Any] = [
    *(1, 1.0, True, False, None, 0, -0.0, 0.1, 1e308, 5e-324, 1.5e-7, 2**53 + 1, -(2**63), 10**60, 1e22),
    *("", "ä€😀", "\\u0000", '"\\/', "\u2028", "  ", "\x7f", "null", [], {}, [[], {}, [None]], {"": {"": ""}}),
    {"z": 1, "a": 2, "é": 3, "B": 4, "10": 5, "9": 6},
    [{"deep": [{"deep": [{"deep": 1.0}]}]}],
    "long " * 20_000,
]


async def test_create_gives_a_record(store: Store, namespace: str) -> None:
    before = datetime.now(UTC)
    record = await store.create(namespace, "a", {"k": [1]}, ttl=60)
    assert (record.namespace, record.id, record.data, record.revision) == (namespace, "a", {"k": [1]}, 1)
    assert record.life
    assert isinstance(record.life, str)
    assert abs(record.created_at - before) < timedelta(seconds=5)
    assert abs(record.expires_at - record.created_at - timedelta(seconds=60)) < timedelta(milliseconds=2)
    assert record.created_at.tzinfo is UTC
    assert record.expires_at.tzinfo is UTC


async def test_get_gives_it_again(store: Store, namespace: str) -> None:
    record = await store.create(namespace, "a", {"k": [1]}, ttl=60)
    assert await store.get(namespace, "a") == record
    assert await store.get(namespace, "a") == record


async def test_times_are_aware_whatever_the_project_says(store: Store, namespace: str, settings: Any) -> None:
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Kolkata"
    record = await store.create(namespace, "a", {}, ttl=60)
    assert abs(record.created_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert await store.get(namespace, "a") == record


async def test_what_is_absent_is_not_found(store: Store, namespace: str) -> None:
    with pytest.raises(NotFound):
        await store.get(namespace, "a")
    with pytest.raises(NotFound):
        await store.replace(namespace, "a", {}, revision=1)
    with pytest.raises(NotFound):
        await store.replace(namespace, "a", {}, revision=1, life="another")
    with pytest.raises(NotFound):
        await store.touch(namespace, "a", 60)
    with pytest.raises(NotFound):
        await store.touch(namespace, "a", 60, life="another")
    with pytest.raises(NotFound):
        await store.read_log(namespace, "a")
    assert await store.delete(namespace, "a") is False
    assert await store.count(namespace) == 0
    assert await store.list(namespace) == []
    assert await store.expire(namespace) == []


async def test_errors_do_not_tell_the_id(store: Store, namespace: str) -> None:
    await store.create(namespace, "A7X9K2M4", {}, ttl=60)
    with pytest.raises(AlreadyExists) as caught:
        await store.create(namespace, "A7X9K2M4", {}, ttl=60)
    assert "A7X9" not in f"{caught.value} {caught.value.as_dict()}"
    with pytest.raises(NotFound) as missing:
        await store.get(namespace, "B7X9K2M4")
    assert "B7X9" not in f"{missing.value} {missing.value.as_dict()}"


async def test_an_id_is_taken_once(store: Store, namespace: str) -> None:
    first = await store.create(namespace, "a", {"first": 1}, ttl=60)
    with pytest.raises(AlreadyExists):
        await store.create(namespace, "a", {"second": 1}, ttl=600)
    assert await store.get(namespace, "a") == first
    assert await store.count(namespace) == 1


async def test_a_deleted_id_can_be_used_again_by_another_life(store: Store, namespace: str) -> None:
    first = await store.create(namespace, "a", {}, ttl=60)
    assert await store.delete(namespace, "a") is True
    assert await store.delete(namespace, "a") is False
    second = await store.create(namespace, "a", {}, ttl=60)
    assert second.life != first.life
    assert second.revision == 1


async def test_replace_is_compare_and_set(store: Store, namespace: str) -> None:
    first = await store.create(namespace, "a", {"old": 1}, ttl=60)
    second = await store.replace(namespace, "a", {"new": 1}, revision=1)
    assert second == first._replace(data={"new": 1}, revision=2)
    assert await store.get(namespace, "a") == second
    for revision in (0, 1, 3, 10**30):
        with pytest.raises(Conflict):
            await store.replace(namespace, "a", {"late": 1}, revision=revision, ttl=600, log="late")
    assert await store.get(namespace, "a") == second
    assert await store.read_log(namespace, "a") == []
    assert (await store.replace(namespace, "a", {}, revision=2)).revision == 3


async def test_replace_moves_the_deadline_only_with_a_ttl(store: Store, namespace: str) -> None:
    first = await store.create(namespace, "a", {}, ttl=60)
    second = await store.replace(namespace, "a", {}, revision=1)
    assert second.expires_at == first.expires_at
    third = await store.replace(namespace, "a", {}, revision=2, ttl=600)
    assert timedelta(seconds=539) < third.expires_at - first.expires_at < timedelta(seconds=550)
    assert third.created_at == first.created_at
    assert await store.get(namespace, "a") == third
    await store.replace(namespace, "a", {"last": 1}, revision=3, ttl=SOON)
    await gone(store, namespace, "a")
    assert [record.data for record in await store.expire(namespace)] == [{"last": 1}]


async def test_another_life_is_left_alone(store: Store, namespace: str) -> None:
    old = await store.create(namespace, "a", {}, ttl=60)
    await store.delete(namespace, "a")
    new = await store.create(namespace, "a", {}, ttl=60)
    with pytest.raises(Conflict):
        await store.replace(namespace, "a", {"late": 1}, revision=1, life=old.life)
    with pytest.raises(Conflict):
        await store.touch(namespace, "a", 600, life=old.life)
    assert await store.delete(namespace, "a", life=old.life) is False
    with pytest.raises(Conflict):
        await store.touch(namespace, "a", 600, life="")
    assert await store.get(namespace, "a") == new


async def test_the_right_life_passes(store: Store, namespace: str) -> None:
    record = await store.create(namespace, "a", {}, ttl=60)
    await store.touch(namespace, "a", 600, life=record.life)
    replaced = await store.replace(namespace, "a", {"k": 1}, revision=1, life=record.life)
    assert replaced.life == record.life
    with pytest.raises(Conflict):
        await store.replace(namespace, "a", {}, revision=1, life=record.life)
    assert await store.delete(namespace, "a", life=record.life) is True
    assert await store.count(namespace) == 0


async def test_touch_moves_the_deadline_and_nothing_else(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {"k": 1}, ttl=60)
    record = await store.replace(namespace, "a", {"k": 2}, revision=1, log="entry")
    assert await store.touch(namespace, "a", 600) is None
    touched = await store.get(namespace, "a")
    assert touched._replace(expires_at=record.expires_at) == record
    assert timedelta(seconds=539) < touched.expires_at - record.expires_at < timedelta(seconds=550)
    assert await store.read_log(namespace, "a") == ["entry"]


async def test_touch_extends(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=1)
    await store.touch(namespace, "a", 60)
    await passed(store, 1)
    assert (await store.get(namespace, "a")).revision == 1
    assert await store.expire(namespace) == []
    assert await store.count(namespace) == 1


async def test_touch_shortens(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=600)
    await store.touch(namespace, "a", SOON)
    await gone(store, namespace, "a")
    assert await store.count(namespace) == 0
    assert [record.id for record in await store.expire(namespace)] == ["a"]


async def test_touch_may_go_to_and_fro(store: Store, namespace: str) -> None:
    await store.create(namespace, "a", {}, ttl=60)
    for ttl in (30, 600, 5, 700, 2, 60, 1, 90, SOON):
        await store.touch(namespace, "a", ttl)
    await gone(store, namespace, "a")
    assert len(await store.expire(namespace)) == 1
    assert await store.expire(namespace) == []


async def test_past_its_deadline_it_is_gone_for_every_reader(store: Store, namespace: str) -> None:
    record = await store.create(namespace, "a", {}, ttl=SOON)
    await gone(store, namespace, "a")
    assert await store.count(namespace) == 0
    assert await store.list(namespace) == []
    for life in (None, record.life, "another"):
        with pytest.raises(NotFound):
            await store.replace(namespace, "a", {}, revision=1, ttl=60, life=life)
        with pytest.raises(NotFound):
            await store.touch(namespace, "a", 60, life=life)
        assert await store.delete(namespace, "a", life=life) is False
    with pytest.raises(NotFound):
        await store.read_log(namespace, "a")


async def test_deadlines_are_finer_than_a_second(store: Store, namespace: str) -> None:
    before = time.monotonic()
    record = await store.create(namespace, "a", {}, ttl=SOON)
    after = seen = time.monotonic()
    assert abs(record.expires_at - record.created_at - timedelta(seconds=SOON)) < timedelta(milliseconds=2)
    while True:
        asked = time.monotonic()
        assert asked < after + PATIENCE
        try:
            await store.get(namespace, "a")
        except NotFound:
            break
        seen = asked
    assert seen < after + SOON + 0.02
    assert time.monotonic() > before + SOON - 0.02


async def test_the_clock_is_the_stores_not_the_workers(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.create(namespace, "before", {}, ttl=60)
    real, now = time.time, timezone.now
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(hours=1))
    assert (await store.get(namespace, "before")).id == "before"
    record = await store.create(namespace, "after", {}, ttl=60)
    assert abs(record.created_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert await store.count(namespace) == 2
    assert await store.expire(namespace) == []
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    monkeypatch.setattr(timezone, "now", lambda: now() - timedelta(hours=1))
    await store.touch(namespace, "after", SOON)
    await gone(store, namespace, "after")
    assert [record.id for record in await store.expire(namespace)] == ["after"]


async def test_any_text_is_any_text(store: Store, namespace: str) -> None:
    for number, id in enumerate(EQUAL_UNDER_COLLATIONS):  # noqa: A001
        await store.create(namespace, id, {"number": number}, ttl=60)
    assert await store.count(namespace) == len(EQUAL_UNDER_COLLATIONS)
    for number, id in enumerate(EQUAL_UNDER_COLLATIONS):  # noqa: A001
        record = await store.get(namespace, id)
        assert (record.id, record.data) == (id, {"number": number})
    assert [record.id for record in await store.list(namespace)] == EQUAL_UNDER_COLLATIONS[::-1]
    for id in EQUAL_UNDER_COLLATIONS:  # noqa: A001
        assert await store.delete(namespace, id) is True


async def test_namespaces_are_any_text_too(store: Store, namespace: str) -> None:
    names = [namespace + text for text in EQUAL_UNDER_COLLATIONS]
    for name in names:
        await store.create(name, "a", {"name": name}, ttl=60)
    for name in names:
        record = await store.get(name, "a")
        assert (record.namespace, record.data) == (name, {"name": name})
        assert [record.namespace for record in await store.list(name)] == [name]


async def test_200_characters_of_any_size(store: Store, namespace: str) -> None:
    name = namespace.ljust(200, "😀")
    for letter in ("a", "é", "😀"):
        record = await store.create(name, letter * 200, {}, ttl=60)
        assert await store.get(name, letter * 200) == record
        with pytest.raises(InvalidValue):
            await store.create(name, letter * 201, {}, ttl=60)
    with pytest.raises(InvalidValue):
        await store.get(name + "x", "a")
    assert await store.count(name) == 3


@pytest.mark.parametrize("bad", ["", "a\x00", "\x00", "\ud800", "a\udfffb", None, 7, b"a"], ids=ascii)
async def test_what_is_no_text(store: Store, namespace: str, bad: Any) -> None:
    for place in [(namespace, bad), (bad, "a")]:
        with pytest.raises(InvalidValue):
            await store.create(*place, {}, ttl=60)
        with pytest.raises(InvalidValue):
            await store.get(*place)
        with pytest.raises(InvalidValue):
            await store.replace(*place, {}, revision=1)
        with pytest.raises(InvalidValue):
            await store.touch(*place, 60)
        with pytest.raises(InvalidValue):
            await store.delete(*place)
        with pytest.raises(InvalidValue):
            await store.read_log(*place)
    for read in (store.count, store.list, store.expire):
        with pytest.raises(InvalidValue):
            await read(bad)
    with pytest.raises(InvalidValue):
        await store.hit(bad, "1/s")
    with pytest.raises(InvalidValue):
        await store.unhit(bad, "token")


async def test_namespaces_are_apart(store: Store, namespace: str) -> None:
    other = f"{namespace}:other"
    await store.create(namespace, "other:a", {"in": 1}, ttl=60, limit=1)
    await store.create(other, "a", {"in": 2}, ttl=60, limit=1)
    await store.create(other, "soon", {}, ttl=SOON)
    assert (await store.get(namespace, "other:a")).data == {"in": 1}
    assert (await store.get(other, "a")).data == {"in": 2}
    await gone(store, other, "soon")
    assert await store.expire(namespace) == []
    assert [record.id for record in await store.expire(other)] == ["soon"]
    assert await store.delete(other, "a") is True
    assert await store.count(namespace) == 1
    assert [record.id for record in await store.list(namespace)] == ["other:a"]
    assert await store.list(other) == []


async def test_json_comes_back_as_it_was(store: Store, namespace: str) -> None:
    data = {f"k{number}": value for number, value in enumerate(JSON_VALUES)}
    created = await store.create(namespace, "a", data, ttl=60)
    (listed,) = await store.list(namespace)
    replaced = await store.replace(namespace, "a", data, revision=1, log=data)
    got = await store.get(namespace, "a")
    (logged,) = await store.read_log(namespace, "a")
    await store.touch(namespace, "a", SOON)
    await gone(store, namespace, "a")
    (expired,) = await store.expire(namespace)
    for record in (created, listed, replaced, got, expired):
        assert repr(record.data) == repr(data)  # unlike ==, it tells 1, 1.0 and True apart, and minds the keys' order
    assert repr(logged) == repr(data)


async def test_tuples_come_back_as_lists_at_once(store: Store, namespace: str) -> None:
    assert (await store.create(namespace, "a", {"t": (1, (2,))}, ttl=60)).data == {"t": [1, [2]]}
    assert (await store.replace(namespace, "a", {"t": ((),)}, revision=1)).data == {"t": [[]]}


@pytest.mark.parametrize(
    "bad",
    [{1, 2}, object(), float("nan"), float("inf"), datetime(2026, 1, 1, tzinfo=UTC), b"x", "\x00", "\ud800", {1: 2}],
    ids=lambda value: type(value).__name__,
)
async def test_what_is_not_json_is_refused_by_key(store: Store, namespace: str, bad: Any) -> None:
    with pytest.raises(InvalidValue) as caught:
        await store.create(namespace, "a", {"fine": 1, "bad": [bad]}, ttl=60)
    assert caught.value.details["key"] == "bad"
    record = await store.create(namespace, "a", {"fine": 1}, ttl=60)
    with pytest.raises(InvalidValue) as caught:
        await store.replace(namespace, "a", {"fine": 2, "bad": bad}, revision=1)
    assert caught.value.details["key"] == "bad"
    with pytest.raises(InvalidValue):
        await store.replace(namespace, "a", {"fine": 2}, revision=1, log={"bad": bad})
    assert await store.get(namespace, "a") == record


@pytest.mark.parametrize("bad", [None, [], [("a", 1)], "text", 7], ids=repr)
async def test_data_is_a_dict(store: Store, namespace: str, bad: Any) -> None:
    with pytest.raises(InvalidValue):
        await store.create(namespace, "a", bad, ttl=60)
    await store.create(namespace, "a", {}, ttl=60)
    with pytest.raises(InvalidValue):
        await store.replace(namespace, "a", bad, revision=1)


async def test_data_is_the_readers_own_copy(store: Store, namespace: str) -> None:
    mine: dict[str, Any] = {"list": [1]}
    entry: dict[str, Any] = {"entry": [1]}
    created = await store.create(namespace, "a", mine, ttl=60)
    replaced = await store.replace(namespace, "a", mine, revision=1, log=entry)
    for each in (mine, created.data, replaced.data, (await store.get(namespace, "a")).data):
        each["list"].append(2)
    entry["entry"].append(2)
    (await store.list(namespace))[0].data["list"].append(2)
    (await store.read_log(namespace, "a"))[0]["entry"].append(2)
    assert (await store.get(namespace, "a")).data == {"list": [1]}
    assert [record.data for record in await store.list(namespace)] == [{"list": [1]}]
    assert await store.read_log(namespace, "a") == [{"entry": [1]}]


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), 10**30, "60", True, None], ids=repr)
async def test_ttls_that_are_none(store: Store, namespace: str, bad: Any) -> None:
    with pytest.raises(InvalidValue):
        await store.create(namespace, "a", {}, ttl=bad)
    record = await store.create(namespace, "a", {}, ttl=60)
    with pytest.raises(InvalidValue):
        await store.touch(namespace, "a", bad)
    if bad is not None:
        with pytest.raises(InvalidValue):
            await store.replace(namespace, "a", {}, revision=1, ttl=bad)
    assert await store.get(namespace, "a") == record


async def test_a_long_ttl(store: Store, namespace: str) -> None:
    record = await store.create(namespace, "a", {}, ttl=99 * 365 * 86_400)
    assert record.expires_at.year >= datetime.now(UTC).year + 98
    assert await store.get(namespace, "a") == record
    assert await store.expire(namespace) == []


async def test_it_says_that_it_is_there(store: Store) -> None:
    assert await store.ping() is None


async def test_after_a_close_it_goes_on(store: Store, namespace: str) -> None:
    record = await store.create(namespace, "a", {}, ttl=60)
    store.plain.close()
    assert await store.get(namespace, "a") == record
    store.plain.close()
    await store.ping()
