"""What the admin has permissions for: the live sync sessions, which are records of a store and have no table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from syncsessions import codes
from syncsessions.pairing.session import SyncSession

if TYPE_CHECKING:
    Base = models.Manager[Any]
else:
    Base = models.Manager


class NoRows(Base):
    """Finds nothing and asks no database, so that what walks over all models (dumpdata, links to objects) passes."""

    def get_queryset(self) -> models.QuerySet[Any]:
        return super().get_queryset().none()


class ActiveSyncSession(models.Model):
    """A live sync session as the admin's log names it; `code` is masked."""

    life = models.CharField(_("life"), max_length=32, primary_key=True)
    code = models.CharField(_("code"), max_length=8)

    objects = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = _("active sync session")
        verbose_name_plural = _("active sync sessions")
        default_permissions = ["view"]
        permissions = [
            ("see_code_activesyncsession", "Can see the codes of active sync sessions"),
            ("end_activesyncsession", "Can end active sync sessions"),
        ]

    def __str__(self) -> str:
        return gettext("sync session %(code)s") % {"code": self.code}

    @classmethod
    def of(cls, session: SyncSession) -> ActiveSyncSession:
        return cls(life=session.life, code=codes.masked(session.code))
