"""Rivals, each in a process of its own, that all take a step on one connection at the same moment.

Arguments: the connection's id, the rivals' steps as JSON: [[who, what], …], `who` being "here" or "peer". Prints a line
of JSON for each: its step, and the code of the error or null.
"""

from __future__ import annotations

import json
import os
import sys

import django


def take(pk: str, who: str, what: str) -> str | None:
    from syncsessions.connections import peer
    from syncsessions.exceptions import SyncSessionsError
    from syncsessions.models import Connection

    row = Connection.objects.get(pk=pk)
    try:
        if who == "here":
            getattr(row, what)()
        elif what == "removed":
            peer.removed(row)
        else:
            status, _, seq = what.partition(" ")
            peer.said(row, status, seq=int(seq) if seq else None)
    except SyncSessionsError as error:
        return error.code
    return None


def main(pk: str, steps: str) -> int:
    from django.db import connections

    connections.close_all()
    ready, begin = os.pipe(), os.pipe()
    children = []
    for who, what in json.loads(steps):
        child = os.fork()
        if not child:
            os.close(begin[1])
            os.write(ready[1], b".")
            os.read(begin[0], 1)  # until all are there
            try:
                line = json.dumps([who, what, take(pk, who, what)]) + "\n"
                os.write(1, line.encode())
            except BaseException:
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        children.append(child)
    os.close(begin[0])
    for _ in children:
        os.read(ready[0], 1)
    os.close(begin[1])
    return sum(os.waitpid(child, 0)[1] != 0 for child in children)


if __name__ == "__main__":
    django.setup()
    sys.exit(main(*sys.argv[1:]))
