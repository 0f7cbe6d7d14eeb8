"""The app: what it watches, what it checks."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SyncSessionsConfig(AppConfig):
    name = "syncsessions"
    verbose_name = _("Sync sessions")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from syncsessions import checks
        from syncsessions.connections import removal, soon
        from syncsessions.consumers import identity
        from syncsessions.stash import departures, rotation

        checks.register_all()
        identity.watch_logins()
        departures.watch()
        removal.watch()
        soon.watch()
        rotation.watch()
