"""Delivers once, under leases of so many seconds. Says "begins" first. Argument: the seconds."""

from __future__ import annotations

import sys

import django


def main(lease: str) -> int:
    from django.conf import settings

    from syncsessions.connections import delivery, outbox

    settings.DEBUG = True
    settings.SYNCSESSIONS = {**settings.SYNCSESSIONS, "ALLOW_PRIVATE_SITE_URLS": True}
    outbox.LEASE = float(lease)
    print("begins", flush=True)
    delivery.deliver()
    return 0


if __name__ == "__main__":
    django.setup()
    sys.exit(main(*sys.argv[1:]))
