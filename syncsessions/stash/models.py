"""The one table of the stash."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class StashSlice(models.Model):
    """State of one view, of one browser session or user, at one version: `data` merges key by key.

    `owner` is a keyed hash of the browser's session id, or a hash of the user's primary key (then also in `user_pk`).
    Rows are found by hashes, so that no collation folds the text of `view` and `tab`. No index on the times: they
    move with every write, and PostgreSQL's in-place updates would be lost; the prune walks the primary key instead.
    """

    owner = models.CharField(_("owner"), max_length=64)
    user_pk = models.CharField(_("user"), max_length=255, blank=True, default="")
    view = models.CharField(_("view"), max_length=200)
    view_hash = models.CharField(max_length=64)
    tab = models.CharField(_("tab"), max_length=200, blank=True, default="")
    tab_hash = models.CharField(max_length=64, blank=True, default="")
    vsn = models.IntegerField(_("version"), default=1)
    data = models.JSONField(_("values"), default=dict)
    revision = models.BigIntegerField(_("revision"), default=1)
    life = models.CharField(_("life"), max_length=32)
    created_at = models.DateTimeField(_("created"))
    written_at = models.DateTimeField(_("last written"))
    last_seen_at = models.DateTimeField(_("last seen"))

    class Meta:
        verbose_name = _("stash slice")
        verbose_name_plural = _("stash slices")
        constraints = [
            models.UniqueConstraint(fields=["owner", "view_hash", "tab_hash", "vsn"], name="syncsessions_one_slice"),
        ]

    def __str__(self) -> str:
        return f"{self.view} (v{self.vsn})"


class StashOwner(StashSlice):
    """One row for each browser session or user that has slices: what the admin lists as sessions."""

    class Meta:
        proxy = True
        verbose_name = _("stash session")
        verbose_name_plural = _("stash sessions")

    def __str__(self) -> str:
        if self.user_pk:
            return gettext("user %(pk)s") % {"pk": self.user_pk}
        return gettext("session %(hash)s") % {"hash": self.owner[:12]}
