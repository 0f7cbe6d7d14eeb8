"""A manager for models that stand for records of a store and have no table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    Base = models.Manager[Any]
else:
    Base = models.Manager


class NoRows(Base):
    """Finds nothing and asks no database, so that what walks over all models (dumpdata, links to objects) passes."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().none()
