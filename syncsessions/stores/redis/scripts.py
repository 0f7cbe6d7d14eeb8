"""The Lua scripts: each a file in `lua/`, sent with the prelude before it and called by its hash."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import NamedTuple

_FOLDER = files("syncsessions.stores.redis") / "lua"


class Script(NamedTuple):
    text: str
    sha: str


def _load(name: str) -> Script:
    text = (_FOLDER / "prelude.lua").read_text("utf-8") + (_FOLDER / f"{name}.lua").read_text("utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


CREATE = _load("create")
GET = _load("get")
REPLACE = _load("replace")
DELETE = _load("delete")
TOUCH = _load("touch")
COUNT = _load("count")
LIST = _load("list")
EXPIRE = _load("expire")
READ_LOG = _load("read_log")
HIT = _load("hit")
UNHIT = _load("unhit")
PING = _load("ping")
