"""The tables of the database store. Moments are microseconds since 1970 by the database's own clock."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class StoreRecord(models.Model):
    """One record of a store; `name` is its id.

    `lookup` is the hash by which it is found. A record past its deadline whose id was created anew, or that no longer
    counts against a limit, is set aside until the next sweep: it has no `lookup`, and its `expires` is negative, so
    that one range of the index finds all that is due. Rows are the store's own: what is removed past it goes on
    counting in `StoreCounter`.
    """

    namespace = models.CharField(_("namespace"), max_length=200)
    namespace_hash = models.CharField(max_length=64)
    name = models.CharField(_("id"), max_length=200)
    lookup = models.CharField(max_length=64, null=True)  # noqa: DJ001 - many have none, and those are unlike each other
    life = models.CharField(_("life"), max_length=32)
    data = models.TextField(_("data"))
    revision = models.BigIntegerField(_("revision"), default=1)
    logged = models.BigIntegerField(default=0)
    created = models.BigIntegerField(_("created"))
    expires = models.BigIntegerField(_("expires"))

    class Meta:
        verbose_name = _("store record")
        verbose_name_plural = _("store records")
        constraints = [models.UniqueConstraint(fields=["lookup"], name="syncsessions_one_record")]
        indexes = [
            models.Index(fields=["namespace_hash", "expires"], name="syncsessions_due"),
            models.Index(fields=["namespace_hash", "id"], name="syncsessions_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.namespace} {self.life}"  # ids can be codes


class StoreLogEntry(models.Model):
    """An entry of a record's log. Numbers have no gaps; the record's `logged` is the newest entry's."""

    record = models.ForeignKey(StoreRecord, models.CASCADE, db_constraint=False, db_index=False)
    number = models.BigIntegerField()
    entry = models.TextField()

    class Meta:
        verbose_name = _("log entry")
        verbose_name_plural = _("log entries")
        constraints = [models.UniqueConstraint(fields=["record", "number"], name="syncsessions_one_log_entry")]

    def __str__(self) -> str:
        return str(self.number)


class StoreCounter(models.Model):
    """How many records of a namespace are not set aside. Whoever counts locks it, before any record or hit.

    A rate's key has one too: there it is a lock and nothing more, and goes when the last of the hits goes.
    """

    lookup = models.CharField(max_length=64, primary_key=True)
    total = models.BigIntegerField(default=0)

    class Meta:
        verbose_name = _("store counter")
        verbose_name_plural = _("store counters")

    def __str__(self) -> str:
        return str(self.total)


class StoreHit(models.Model):
    """One of what a rate counts, until `forget_at`. Taken back, it happened in 1970."""

    counter = models.CharField(max_length=64)
    token = models.CharField(max_length=32)
    hit_at = models.BigIntegerField()
    forget_at = models.BigIntegerField()

    class Meta:
        verbose_name = _("hit")
        verbose_name_plural = _("hits")
        indexes = [
            models.Index(fields=["counter", "hit_at"], name="syncsessions_hits"),
            models.Index(fields=["forget_at"], name="syncsessions_forget"),
        ]

    def __str__(self) -> str:
        return str(self.hit_at)
