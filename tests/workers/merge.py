"""Another worker process: merges once. Arguments: session id, view, changes as JSON, and a tab if there is one."""

from __future__ import annotations

import json
import sys

import django


def main(session_id: str, view: str, changes: str, tab: str = "") -> None:
    from syncsessions.stash import StashSession

    print(StashSession(session_id).merge(view, json.loads(changes), tab=tab))


if __name__ == "__main__":
    django.setup()
    main(*sys.argv[1:])
