"""`path("syncsessions/", include("syncsessions.urls"))`: the stash over HTTP."""

from django.urls import path

from syncsessions.stash.http import stash

app_name = "syncsessions"
urlpatterns = [path("stash/", stash, name="stash")]
