"""Migrates the server's database and logs users in there; prints a Cookie header for each session, as JSON."""

from __future__ import annotations

import json
import sys

import django


def main(count: int) -> None:
    django.setup()
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.db import transaction

    from tests.benchmarks.sockets import USERS_SHARE

    call_command("migrate", verbosity=0)
    names = [f"user-{number}" for number in range(-(-count // USERS_SHARE))]
    User.objects.bulk_create([User(username=name, password="!none") for name in names])
    users = list(User.objects.all())
    cookies = []
    with transaction.atomic():
        for number in range(count):
            user = users[number // USERS_SHARE]
            session = SessionStore()
            session[SESSION_KEY] = str(user.pk)
            session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
            session[HASH_SESSION_KEY] = user.get_session_auth_hash()
            session.create()
            cookies.append(f"sessionid={session.session_key}")
    print(json.dumps(cookies))


if __name__ == "__main__":
    main(int(sys.argv[1]))
