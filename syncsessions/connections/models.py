"""The tables of connections: the link itself, its tokens, its history, invitations to it, and what its peer is yet to
be told."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.db import models, router
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from syncsessions.connections import flow, site_url
from syncsessions.connections.rows import ConnectionManager
from syncsessions.connections.validators import (
    LONGEST_NAME,
    LONGEST_REASON,
    validate_labels,
    validate_networks,
    validate_rate,
)
from syncsessions.database import InThread, InThreadOfItsOwn
from syncsessions.digests import text_hash
from syncsessions.exceptions import InvalidValue
from syncsessions.secrets_at_rest import decrypted, encrypted
from syncsessions.uuid7 import uuid7

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser as User
    from django.contrib.auth.models import AnonymousUser

    Actor = User | AnonymousUser | None

EXISTS = _("There is a connection of this direction to this site already. To connect anew, delete it first.")
TOKEN = "connections.token"  # noqa: S105 - what the key for tokens derives from


def _actor() -> Any:
    """Who did something: no constraint, for users may live in another database; who is deleted leaves a bare key."""
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True, blank=True, related_name="+", db_constraint=False
    )


class Connection(models.Model):
    """One side's row of a lasting link between two sites: `direction` "sender" where this site will share data.

    `asked_here` says that this side asked for the link, `set_by_peer` that the other one set the status; with
    `has_callback` off nobody can reach the peer, who asks for what is new. Hours are UTC and included at both ends.
    """

    class Direction(models.TextChoices):
        SENDER = "sender", _("sender")
        RECEIVER = "receiver", _("receiver")

    class Status(models.TextChoices):
        PENDING = flow.PENDING, _("pending")
        ACTIVE = flow.ACTIVE, pgettext_lazy("syncsessions", "active")
        SUSPENDED = flow.SUSPENDED, _("suspended")
        REVOKED = flow.REVOKED, _("revoked")
        EXPIRED = flow.EXPIRED, _("expired")

    class ApprovalMode(models.TextChoices):
        AUTO_APPROVE = "auto_approve", _("approve automatically")
        REQUIRE_APPROVAL = "require_approval", _("require approval")
        PER_TABLE = "per_table", _("per table")

    class ConflictStrategy(models.TextChoices):
        SKIP = "skip", _("skip")
        OVERWRITE = "overwrite", _("overwrite")
        MERGE = "merge", _("merge")
        APPEND = "append", _("append")

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=LONGEST_NAME)
    direction = models.CharField(_("direction"), max_length=8, choices=Direction)
    site_url = models.CharField(_("site"), max_length=site_url.LONGEST, null=True, blank=True)  # noqa: DJ001
    site_hash = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001 - without a site, none
    status = models.CharField(_("status"), max_length=9, choices=Status, default=Status.PENDING)
    asked_here = models.BooleanField(_("asked for here"), default=False, editable=False)
    set_by_peer = models.BooleanField(_("status set by the other site"), default=False, editable=False)
    has_callback = models.BooleanField(_("reachable"), default=True, editable=False)

    approval_mode = models.CharField(
        _("approval mode"), max_length=16, choices=ApprovalMode, default=ApprovalMode.REQUIRE_APPROVAL
    )
    allowed_tables = models.JSONField(_("allowed tables"), default=list, blank=True, validators=[validate_labels])
    excluded_tables = models.JSONField(_("excluded tables"), default=list, blank=True, validators=[validate_labels])
    auto_approve_tables = models.JSONField(
        _("automatically approved tables"), default=list, blank=True, validators=[validate_labels]
    )
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    max_downloads = models.PositiveIntegerField(_("downloads at most"), null=True, blank=True)
    downloads_used = models.PositiveIntegerField(_("downloads used"), default=0, editable=False)
    max_records_total = models.PositiveBigIntegerField(_("records at most"), null=True, blank=True)
    records_downloaded = models.PositiveBigIntegerField(_("records downloaded"), default=0, editable=False)
    max_records_per_request = models.PositiveIntegerField(_("records per request at most"), default=10_000)
    rate_limit = models.CharField(
        _("rate limit"), max_length=20, default="60/m", blank=True, validators=[validate_rate]
    )
    download_password = models.CharField(_("download password"), max_length=128, blank=True, default="")
    ip_allowlist = models.JSONField(
        _("allowed networks"), default=list, null=True, blank=True, validators=[validate_networks]
    )
    allowed_hours_start = models.PositiveSmallIntegerField(
        _("allowed from hour (UTC)"), null=True, blank=True, validators=[MaxValueValidator(23)]
    )
    allowed_hours_end = models.PositiveSmallIntegerField(
        _("allowed to hour (UTC)"), null=True, blank=True, validators=[MaxValueValidator(23)]
    )
    default_conflict_strategy = models.CharField(
        _("on conflict"), max_length=9, choices=ConflictStrategy, default=ConflictStrategy.SKIP
    )

    approved_at = models.DateTimeField(_("approved"), null=True, blank=True, editable=False)
    approved_by = _actor()
    approved_reason = models.CharField(_("reason of the approval"), max_length=LONGEST_REASON, blank=True, default="")
    suspended_at = models.DateTimeField(_("suspended"), null=True, blank=True, editable=False)
    suspended_by = _actor()
    suspended_reason = models.CharField(
        _("reason of the suspension"), max_length=LONGEST_REASON, blank=True, default=""
    )
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True, editable=False)
    revoked_by = _actor()
    revoked_reason = models.CharField(_("reason of the revocation"), max_length=LONGEST_REASON, blank=True, default="")

    last_connected_at = models.DateTimeField(_("last connected"), null=True, blank=True, editable=False)
    last_transfer_at = models.DateTimeField(_("last transfer"), null=True, blank=True, editable=False)
    total_transfers = models.PositiveIntegerField(_("transfers"), default=0, editable=False)
    total_records_transferred = models.PositiveBigIntegerField(_("records transferred"), default=0, editable=False)
    total_bytes_transferred = models.PositiveBigIntegerField(_("bytes transferred"), default=0, editable=False)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    peer_token_at_rest = models.TextField(blank=True, default="", editable=False)
    offered_token = models.TextField(blank=True, default="", editable=False)
    handed_over_at = models.DateTimeField(null=True, blank=True, editable=False)
    told_seq = models.PositiveBigIntegerField(default=0, editable=False)
    heard_seq = models.PositiveBigIntegerField(null=True, editable=False)
    delivery_error = models.CharField(
        _("last refusal"), max_length=LONGEST_REASON, blank=True, default="", editable=False
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("last changed"), auto_now=True)

    objects = ConnectionManager()

    made_to_ask = False
    """Of this object: its row was made for a call that has yet to be answered, and goes if that is refused."""

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        constraints = [
            models.UniqueConstraint(
                fields=["site_hash", "direction"],
                name="syncsessions_one_connection",
                violation_error_message=EXISTS,
            )
        ]
        permissions = [
            ("approve_connection", "Can approve, suspend, reactivate and revoke connections"),
            ("rotate_connection", "Can rotate the tokens of connections"),
            ("verify_connection", "Can verify connections"),
        ]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<Connection {self.pk} {self.direction} {self.status}>"

    def save(self, *args: Any, update_fields: Iterable[str] | None = None, **kwargs: Any) -> None:
        if update_fields is None or "site_url" in update_fields:
            with suppress(InvalidValue):  # kept as it is: such a site is never called
                self._spell_site()
            self.site_hash = text_hash(self.site_url) if self.site_url else None
            update_fields = None if update_fields is None else {*update_fields, "site_hash"}
        super().save(*args, update_fields=update_fields, **kwargs)

    def clean(self) -> None:
        try:
            self._spell_site()
        except InvalidValue as error:
            raise ValidationError({"site_url": str(error)}) from None
        self.site_hash = text_hash(self.site_url) if self.site_url else None

    def _spell_site(self) -> None:
        self.site_url = site_url.canonical(self.site_url) if self.site_url else None

    @property
    def peer_token(self) -> str | None:
        """What this side presents to the peer; None where it has nothing that it can read."""
        return decrypted(TOKEN, self.peer_token_at_rest) if self.peer_token_at_rest else None

    @peer_token.setter
    def peer_token(self, token: str | None) -> None:
        self.peer_token_at_rest = encrypted(TOKEN, token) if token else ""

    @property
    def is_reachable(self) -> bool:
        """Whether this side can call the other one: a sender whose receiver has no callback knows no site to call."""
        return bool(self.site_url and self.peer_token_at_rest)

    @property
    def standing(self) -> flow.Standing:
        return flow.Standing(self.status, self.asked_here, self.set_by_peer, self.approved_at is not None)

    def approve(self, by: Actor = None, reason: str = "") -> None:
        """pending -> active. Raises `InvalidTransition`, by what the row says in the database; `NotFound`."""
        self._step(flow.ACTIVE, by, reason, lifts=flow.PENDING)

    def suspend(self, by: Actor = None, reason: str = "") -> None:
        """pending or active -> suspended. Raises as `approve` does."""
        self._step(flow.SUSPENDED, by, reason)

    def reactivate(self, by: Actor = None, reason: str = "") -> None:
        """suspended -> active, where this side suspended it. Raises as `approve` does."""
        self._step(flow.ACTIVE, by, reason, lifts=flow.SUSPENDED)

    def revoke(self, by: Actor = None, reason: str = "") -> None:
        """To revoked, for good. Raises as `approve` does."""
        self._step(flow.REVOKED, by, reason)

    async def aapprove(self, by: Actor = None, reason: str = "") -> None:
        await InThread(self.approve)(by, reason)

    async def asuspend(self, by: Actor = None, reason: str = "") -> None:
        await InThread(self.suspend)(by, reason)

    async def areactivate(self, by: Actor = None, reason: str = "") -> None:
        await InThread(self.reactivate)(by, reason)

    async def arevoke(self, by: Actor = None, reason: str = "") -> None:
        await InThread(self.revoke)(by, reason)

    def _step(self, status: str, by: Actor, reason: str, lifts: str | None = None) -> None:
        from syncsessions.connections import steps

        steps.take(self, status, by=by, reason=reason, lifts=lifts)

    def rotate_tokens(self) -> None:
        """New tokens in both directions, by a call to the peer; each old one stays valid until its successor is first
        used. Raises `InvalidTransition` where this side cannot call, or may not by the status; `SiteUnavailable`, after
        which the link works as before; `AccessRefused` or `RateLimited` where the peer refuses;
        RuntimeError inside a transaction, which would keep from the peer the token that it is told of."""
        from syncsessions.connections import rotation

        rotation.rotate(self)

    async def arotate_tokens(self) -> None:
        await InThreadOfItsOwn(self.rotate_tokens)()

    def count_download(self, records: int) -> None:
        """Count one download of so many records against the limits."""
        alias = router.db_for_write(Connection)
        Connection.objects.using(alias).filter(pk=self.pk).update(
            downloads_used=models.F("downloads_used") + 1, records_downloaded=models.F("records_downloaded") + records
        )
        self.refresh_from_db(using=alias, fields=["downloads_used", "records_downloaded"])

    async def acount_download(self, records: int) -> None:
        await InThread(self.count_download)(records)

    def set_download_password(self, password: str | None) -> None:
        """Keep the hash of a password, or none; `save` is the caller's."""
        self.download_password = make_password(password) if password else ""

    def check_download_password(self, password: str | None) -> bool:
        """Whether this is the password; anything is where none is set."""
        return not self.download_password or check_password(password, self.download_password)


class ConnectionToken(models.Model):
    """The hash of a token that the peer may present. When one is first used, those before it go.

    `offered` are those of a rotation whose answer has not come: the peer may present them from any moment on.
    """

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="tokens")
    token_hash = models.CharField(max_length=64, unique=True)
    offered = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("connection token")
        verbose_name_plural = _("connection tokens")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.pk)


class ConnectionChange(models.Model):
    """A status that a connection has had, who set it and why; `previous` is empty at its beginning."""

    connection = models.ForeignKey(Connection, models.CASCADE, related_name="changes")
    at = models.DateTimeField(_("at"))
    previous = models.CharField(_("from"), max_length=9, choices=Connection.Status, blank=True, default="")
    status = models.CharField(_("to"), max_length=9, choices=Connection.Status)
    by = _actor()
    by_peer = models.BooleanField(_("by the other site"), default=False)
    reason = models.CharField(_("reason"), max_length=LONGEST_REASON, blank=True, default="")

    class Meta:
        verbose_name = _("change of a connection")
        verbose_name_plural = _("changes of connections")
        default_permissions = ()

    def __str__(self) -> str:
        return self.status


class ConnectionInvitation(models.Model):
    """An invitation to pull from this site: the keyed hash of a code that is good once, until `expires_at`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("name"), max_length=LONGEST_NAME)
    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), editable=False)
    created_by = _actor()
    expires_at = models.DateTimeField(_("expires"), editable=False)
    used_at = models.DateTimeField(_("redeemed"), null=True, blank=True, editable=False)
    connection = models.ForeignKey(
        Connection, models.SET_NULL, null=True, blank=True, editable=False, related_name="invitations"
    )

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        default_permissions = ("add", "view", "delete")

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"<ConnectionInvitation {self.pk}>"


class ConnectionNotice(models.Model):
    """What a peer is yet to be told: a status (PATCH), or that its row is gone here (DELETE). In order per connection.

    It outlives its connection, so it names the site and keeps the token itself; as long as there is a connection, that
    one's token counts. Moments are microseconds since 1970 by the database's clock.
    """

    connection_pk = models.UUIDField()
    site_url = models.CharField(max_length=site_url.LONGEST)
    token_at_rest = models.TextField()
    status = models.CharField(max_length=9, blank=True, default="")
    reason = models.CharField(max_length=LONGEST_REASON, blank=True, default="")
    seq = models.PositiveBigIntegerField()
    created = models.BigIntegerField()
    due = models.BigIntegerField(db_index=True)
    leased_until = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=LONGEST_REASON, blank=True, default="")

    class Meta:
        verbose_name = _("notice to another site")
        verbose_name_plural = _("notices to other sites")
        default_permissions = ()
        indexes = [models.Index(fields=["connection_pk", "id"], name="syncsessions_notices_in_order")]

    def __str__(self) -> str:
        return self.status or "deleted"

    @property
    def token(self) -> str | None:
        return decrypted(TOKEN, self.token_at_rest)
