"""What the admin has permissions for: the running session processes, which are records of a store and have no table."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from syncsessions.no_rows import NoRows


class ActiveProcess(models.Model):
    """A running session process as the admin's log names it: its class, and the beginning of its session's id."""

    life = models.CharField(_("life"), max_length=32, primary_key=True)
    name = models.CharField(_("name"), max_length=200)

    objects = NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = _("active process")
        verbose_name_plural = _("active processes")
        default_permissions = ["view"]
        permissions = [
            ("touch_activeprocess", "Can touch active processes"),
            ("terminate_activeprocess", "Can terminate active processes"),
        ]

    def __str__(self) -> str:
        return gettext("process %(name)s") % {"name": self.name}
