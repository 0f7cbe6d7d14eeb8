"""Settings of the server that the socket benchmarks measure."""

import os

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["BENCHMARK_FILE"]}}
INSTALLED_APPS = [
    "daphne",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "syncsessions",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "syncsessions.middleware.SessionIdMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SECRET_KEY = "benchmarks only"
ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
USE_TZ = True
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
SYNCSESSIONS = {"PAIRING_MAX_SESSIONS": 1_000_000}
if "BENCHMARK_LAYER" in os.environ:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": os.environ["BENCHMARK_LAYER"],
            "CONFIG": {"hosts": [{"address": os.environ["TEST_REDIS_URL"], "socket_timeout": None}]},
        }
    }
