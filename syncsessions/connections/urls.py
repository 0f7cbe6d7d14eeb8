"""`path("sync/", include("syncsessions.connections.urls"))`: the API by which sites connect."""

from django.urls import path

from syncsessions.connections import http

app_name = "syncsessions_connections"
urlpatterns = [
    path("api/status", http.status, name="status"),
    path("api/connections", http.registration, name="registration"),
    path("api/connections/redeem", http.redemption, name="redemption"),
    path("api/connection", http.connection, name="connection"),
    path("api/connection/rotate", http.rotation, name="rotation"),
    path("api/openapi.json", http.document, name="document"),
]
