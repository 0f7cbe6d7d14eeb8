"""Many writer processes on one slice. Arguments: session id, view, number of writers, merges of each.

The second half of them waits until the first half has made the slice. A writer's keys are `<its number>.<count>`.
"""

from __future__ import annotations

import os
import sys
import time

import django

PATIENCE = 30.0  # seconds


def write(session_id: str, view: str, number: int, merges: int, *, at_once: bool) -> None:
    from syncsessions.stash import StashSession

    stash = StashSession(session_id)
    deadline = time.monotonic() + PATIENCE
    while not at_once and stash.fetch_view(view) is None:
        if time.monotonic() > deadline:
            raise TimeoutError("nobody made the slice")
    for count in range(merges):
        stash.merge(view, {f"{number}.{count}": count})


def main(session_id: str, view: str, writers: str, merges: str) -> int:
    """Fork the writers, so that the start-up is paid once; how many of them failed."""
    children = []
    for number in range(int(writers)):
        child = os.fork()
        if not child:
            try:
                write(session_id, view, number, int(merges), at_once=number < int(writers) // 2)
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        children.append(child)
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    django.setup()
    sys.exit(main(*sys.argv[1:]))
