"""A value as a tree: what of it is shown, what is counted, and that it is never more than a page can hold."""

from __future__ import annotations

from typing import Any

import pytest

from syncsessions.processes import tree as module
from syncsessions.processes.tree import Node, short_json, tree


def nodes(node: Node) -> int:
    return sum(1 + nodes(each) for each in node.get("items", ()))


def test_each_kind() -> None:
    found = tree({"o": {"a": 1}, "l": [None], "t": 'ö"', "n": 1.5, "b": True, "e": {}})
    assert (found["kind"], found["size"], found["more"]) == ("object", 6, 0)
    assert [(node["key"], node["kind"], node["size"]) for node in found["items"]] == [
        ("o", "object", 1),
        ("l", "list", 1),
        ("t", "text", 0),
        ("n", "number", 0),
        ("b", "word", 0),
        ("e", "object", 0),
    ]
    assert found["items"][1]["items"] == [
        {"key": "0", "kind": "word", "size": 0, "text": "null", "cut": 0},
    ]
    assert [node["text"] for node in found["items"][2:5]] == ['"ö\\""', "1.5", "true"]


def test_long_keys_and_values_are_cut() -> None:
    (node,) = tree({"k" * 500: "v" * 500})["items"]
    assert node["key"] == "k" * module.KEY_SHOWN + "…"
    assert node["text"] == f'"{"v" * module.VALUE_SHOWN}"'
    assert node["cut"] == 500 - module.VALUE_SHOWN
    (node,) = tree([10**1000])["items"]
    assert (len(node["text"]), node["cut"]) == (module.VALUE_SHOWN, 1001 - module.VALUE_SHOWN)


@pytest.mark.parametrize(
    "value",
    [
        list(range(100_000)),
        {f"k{n}": {f"i{m}": [m] for m in range(50)} for n in range(50)},
        [[[list(range(30)) for _ in range(30)] for _ in range(30)] for _ in range(5)],
    ],
)
def test_no_more_than_a_page_can_hold(value: Any) -> None:
    found = tree(value)
    assert nodes(found) <= module.NODES

    def counted(node: Node) -> None:
        if "items" in node:
            assert len(node["items"]) + node["more"] == node["size"]
            for each in node["items"]:
                counted(each)

    counted(found)
    assert len(found["items"]) == min(len(value), module.CHILDREN)


def test_what_is_deep_is_left_out() -> None:
    value: Any = "bottom"
    for _ in range(60):
        value = [value]
    node = tree(value)
    depth = 0
    while node.get("items"):
        (node,) = node["items"]
        depth += 1
    assert depth == module.DEPTH
    assert node["more"] == 1


def test_the_beginning_of_json() -> None:
    assert short_json({"a": [1, "ö"]}, 100) == '{"a": [1, "ö"]}'
    assert short_json(list(range(1_000_000)), 10) == "[0, 1, 2, …"
    assert short_json("x" * 50, 10) == f'"{"x" * 9}…'
