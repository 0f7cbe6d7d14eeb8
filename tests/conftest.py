"""Fixtures that every test may use."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.db import connections
from django.test.utils import setup_databases, teardown_databases

from syncsessions.stash.models import StashSlice
from tests import secrecy
from tests.connection_api import api, caller, open_site  # noqa: F401 - fixtures
from tests.connections import links, told  # noqa: F401 - fixtures
from tests.fake_peer import fake_peer  # noqa: F401 - a fixture
from tests.parties import sessions  # noqa: F401 - a fixture
from tests.process_shop import process_store  # noqa: F401 - a fixture
from tests.processes import release, site  # noqa: F401 - fixtures
from tests.routers import StashRouter
from tests.sites import authority, bad_site, public_sites, sites_here  # noqa: F401 - fixtures
from tests.staff import pairing_store  # noqa: F401 - a fixture
from tests.stores import (  # noqa: F401 - fixtures
    backend,
    close_connections,
    is_of_its_own,
    namespace,
    own_store,
    params,
    plain_store,
    store,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = filter(is_of_its_own, items)


secrecy.watch()


@pytest.fixture(autouse=True)
def nothing_secret_is_seen() -> Iterator[None]:
    """No log and no row has had a token, a code or a password in it, this test's or any before it."""
    yield
    assert secrecy.leaks() == []


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: Any, django_db_modify_db_settings: None
) -> Iterator[None]:
    """Make every database: pytest-django would make those of marked tests only."""
    with django_db_blocker.unblock():
        made = setup_databases(verbosity=0, interactive=False)
    yield
    with django_db_blocker.unblock():
        _end_other_connections()
        teardown_databases(made, verbosity=0)


def _end_other_connections() -> None:
    """Threads that async code ran its queries in keep theirs open, and PostgreSQL then refuses to drop the database."""
    if "postgresql" in settings.DATABASES:
        with connections["postgresql"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )


@pytest.fixture(params=["default", "postgresql", "mysql"], ids=["sqlite", "postgresql", "mysql"])
def database(request: Any, django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """The stash on each database in turn: the alias. Writes are really committed, and cleared away afterwards."""
    alias = request.param
    if alias not in settings.DATABASES:
        pytest.skip(f"no {alias} here: name one in TEST_{alias.upper()}_URL")
    with django_db_blocker.unblock():
        StashRouter.alias = alias
        try:
            yield alias
        finally:
            StashRouter.alias = "default"
            StashSlice.objects.using(alias).all().delete()
            close_connections()


@pytest.fixture
def session_id() -> str:
    """A browser session's id that no other test has."""
    return secrets.token_urlsafe(24)
