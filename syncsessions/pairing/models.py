"""What the admin has permissions for: the live sync sessions, which are records of a store and have no table."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from syncsessions import codes
from syncsessions.no_rows import NoRows
from syncsessions.pairing.session import SyncSession


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
