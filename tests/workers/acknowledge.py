"""A worker that is killed at its work: merges without end and says each revision. Arguments: session id, view."""

from __future__ import annotations

import sys

import django


def main(session_id: str, view: str) -> None:
    from syncsessions.stash import StashSession

    stash = StashSession(session_id)
    count = 0
    while True:
        count += 1
        print(stash.merge(view, {str(count % 500): count}), flush=True)


if __name__ == "__main__":
    django.setup()
    main(*sys.argv[1:])
