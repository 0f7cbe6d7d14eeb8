"""The demo's pages, the stash over HTTP, and the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("project.demo.urls")),
    path("accounts/", include("django.contrib.auth.urls")),
    path("syncsessions/", include("syncsessions.urls")),
    path("sync/", include("syncsessions.connections.urls")),
    path("admin/", admin.site.urls),
]
