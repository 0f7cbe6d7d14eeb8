"""The staff: who may do what with a model now, and what the admin's log says that somebody did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.contrib.auth import get_permission_codename, get_user_model
from django.db.models import Model


def held(user_pk: str | None, model: type[Model], rights: Iterable[str]) -> list[bool]:
    """Which of these rights a user has; active members of the staff only may have any. Call it from a thread."""
    user: Any = None if user_pk is None else get_user_model()._default_manager.filter(pk=user_pk).first()
    if user is None or not (user.is_active and getattr(user, "is_staff", False)):
        return [False for _right in rights]
    return [user.has_perm(permission(model, right)) for right in rights]


def permission(model: type[Model], right: str) -> str:
    opts = model._meta
    return f"{opts.app_label}.{get_permission_codename(right, opts)}"


def note(user_pk: Any, thing: Model, text: str, *, gone: bool) -> None:
    """Write into the admin's log what a user did to a thing, which is `gone` or was changed."""
    if apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.models import CHANGE, DELETION, LogEntry

        LogEntry.objects.log_actions(user_pk, [thing], DELETION if gone else CHANGE, text)
