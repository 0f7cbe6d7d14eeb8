"""The forms of connections: their rules of access, the three ways to a new one, and the reason of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from syncsessions.connections import site_url
from syncsessions.connections.models import Connection
from syncsessions.connections.validators import LONGEST_NAME, LONGEST_REASON

LONGEST_PASSWORD = 4096


NAME_HELP = gettext_lazy("What both sites call it. Empty: each shows the other's address.")


class LinesField(forms.CharField):
    """A list of texts, one on each line. `check` raises where it is none of those wanted; `wrong` is then said."""

    def __init__(self, check: Callable[[object], None], wrong: str, **options: Any) -> None:
        self._check, self._wrong = check, wrong
        super().__init__(**{"widget": forms.Textarea(attrs={"rows": 3, "cols": 30}), **options})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        lines = (line.strip() for line in (super().to_python(value) or "").splitlines())
        return list(dict.fromkeys(line for line in lines if line))

    def clean(self, value: Any) -> Any:
        self.run_validators(str(value or ""))
        lines = self.to_python(value)
        try:
            self._check(lines)
        except ValidationError:
            raise ValidationError(self._wrong) from None
        return lines

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


class PasswordField(forms.CharField):
    """Never filled in again."""

    def __init__(self, **options: Any) -> None:
        widget = forms.PasswordInput(attrs={"autocomplete": "new-password"})
        super().__init__(max_length=LONGEST_PASSWORD, strip=False, required=False, widget=widget, **options)


class ConnectionForm(forms.ModelForm):  # type: ignore[type-arg]
    """What the staff may set of a connection. Its status is changed by steps alone."""

    new_password = PasswordField(
        label=gettext_lazy("New download password"), help_text=gettext_lazy("Empty: it stays as it is.")
    )
    no_password = forms.BooleanField(label=gettext_lazy("Ask for no password any more"), required=False)

    class Meta:
        model = Connection
        fields = [
            "name",
            "approval_mode",
            "allowed_tables",
            "excluded_tables",
            "auto_approve_tables",
            "default_conflict_strategy",
            "expires_at",
            "max_downloads",
            "max_records_total",
            "max_records_per_request",
            "rate_limit",
            "ip_allowlist",
            "allowed_hours_start",
            "allowed_hours_end",
        ]

    def clean(self) -> dict[str, Any]:
        found: dict[str, Any] = super().clean() or {}
        if found.get("new_password") and found.get("no_password"):
            self.add_error("no_password", _("Give a new password, or ask for none: not both."))
        hours = [found.get(name) for name in ("allowed_hours_start", "allowed_hours_end")]
        if hours.count(None) == 1 and not {"allowed_hours_start", "allowed_hours_end"} & set(self.errors):
            self.add_error("allowed_hours_end", _("Give both hours, or none."))
        return found

    def add_error(self, field: Any, error: Any) -> None:
        if field is None and hasattr(error, "error_dict"):  # what is only read here cannot be corrected here
            known = {*self.fields, NON_FIELD_ERRORS}
            error = ValidationError({name: each for name, each in error.error_dict.items() if name in known})
        super().add_error(field, error)

    def fields_to_save(self) -> list[str]:
        """The columns that have changed, so that whatever else became of the row meanwhile is left alone."""
        columns = {field.name for field in Connection._meta.concrete_fields}
        names = [name for name in self.changed_data if name in columns]
        password, none = self.cleaned_data.get("new_password"), self.cleaned_data.get("no_password")
        if password or none:
            self.instance.set_download_password(password or None)
            names.append("download_password")
        return names


class NameField(forms.CharField):
    def __init__(self, **options: Any) -> None:
        super().__init__(label=gettext_lazy("Name"), max_length=LONGEST_NAME, **options)


class SiteField(forms.CharField):
    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("Address of the other site"),
            max_length=site_url.LONGEST,
            help_text=gettext_lazy("Where it has mounted its connections, like https://b.example/sync."),
            widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
        )


class ConnectForm(forms.Form):
    way = "connect"

    url = SiteField()
    name = NameField(required=False, help_text=NAME_HELP)
    password = PasswordField(
        label=gettext_lazy("Password"), help_text=gettext_lazy("Where the other site asks for one to connect.")
    )


class InviteForm(forms.Form):
    way = "invite"

    name = NameField(help_text=gettext_lazy("Whom it is for, like “laptop of Ann”."))


class RedeemForm(forms.Form):
    way = "redeem"

    url = SiteField()
    code = forms.CharField(
        label=gettext_lazy("Code"),
        max_length=80,
        widget=forms.TextInput(
            attrs={
                "autocomplete": "off",
                "autocapitalize": "characters",
                "spellcheck": "false",
                "placeholder": "A7X9-K2M4",
            }
        ),
    )
    name = NameField(required=False, help_text=NAME_HELP)
    callback = forms.BooleanField(
        label=gettext_lazy("The other site can reach this one"),
        required=False,
        help_text=gettext_lazy("Leave it out for a laptop, or a site behind a firewall."),
    )


class ReasonForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=LONGEST_REASON,
        required=False,
        help_text=gettext_lazy("The other site is told it as well."),
        widget=forms.Textarea(attrs={"rows": 2}),
    )
