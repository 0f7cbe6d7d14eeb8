"""A JSON value as a tree for people to read: as much of it as a page can hold, from the top; the rest is counted.

A node is `{"key", "kind", "size", "text", "cut", "items", "more"}`: a dict or list ("object", "list") has `items`, and
`more` that are not among them; anything else ("text", "number", "word") has a `text`, of which `cut` characters are
missing. `size` counts a dict's or list's entries.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import islice
from typing import Any

from syncsessions.json_values import JSON

NODES = 400
CHILDREN = 100
DEPTH = 20
VALUE_SHOWN = 200  # characters
KEY_SHOWN = 80

Node = dict[str, Any]


def tree(value: JSON) -> Node:
    """The root's node. What is near the root comes before what is deep."""
    root = _node("", value)
    left = NODES
    waiting: deque[tuple[Node, JSON, int]] = deque([(root, value, 0)] if root["size"] else [])
    while waiting:
        node, container, depth = waiting.popleft()
        shown = min(CHILDREN, left) if depth < DEPTH else 0
        for key, item in islice(_entries(container), shown):
            child = _node(key, item)
            node["items"].append(child)
            if child["size"]:
                waiting.append((child, item, depth + 1))
        left -= len(node["items"])
        node["more"] = node["size"] - len(node["items"])
    return root


def short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def short_json(value: JSON, most: int) -> str:
    """The beginning of a value's JSON; no more of it is made than that."""
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
        text += piece
        if len(text) > most:
            break
    return short(text, most)


def _node(key: str, value: JSON) -> Node:
    node: Node = {"key": short(key, KEY_SHOWN)}
    if isinstance(value, dict | list):
        kind = "object" if isinstance(value, dict) else "list"
        return {**node, "kind": kind, "size": len(value), "items": [], "more": 0}
    if isinstance(value, str):
        text, cut = json.dumps(value[:VALUE_SHOWN], ensure_ascii=False), max(0, len(value) - VALUE_SHOWN)
        return {**node, "kind": "text", "size": 0, "text": text, "cut": cut}
    text = json.dumps(value)
    kind = "word" if value is None or isinstance(value, bool) else "number"
    return {**node, "kind": kind, "size": 0, "text": text[:VALUE_SHOWN], "cut": max(0, len(text) - VALUE_SHOWN)}


def _entries(value: JSON) -> Any:
    if isinstance(value, dict):
        return value.items()
    return ((str(index), item) for index, item in enumerate(value)) if isinstance(value, list) else ()
