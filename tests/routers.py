"""Sends the library's models to the database that a test names."""

from __future__ import annotations

import os
from typing import Any


class StashRouter:
    alias = os.environ.get("TEST_STASH_ALIAS", "default")

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return self.alias if model._meta.app_label == "syncsessions" else None

    db_for_write = db_for_read

    def allow_relation(self, *args: Any, **hints: Any) -> bool:
        return True
