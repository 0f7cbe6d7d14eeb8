"""Settings of the demo project: SQLite, the in-memory channel layer, daphne. Made for one machine, not for the net."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent

# Of `manage.py demo --sites 2` each site has a number, a database and cookies of its own.
SITE = os.environ.get("DEMO_SITE", "")
_SUFFIX = "" if SITE in ("", "1") else f"-{SITE}"

SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", f"a demo's key{_SUFFIX}, which keeps no secrets")
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", *filter(None, [os.environ.get("DEMO_HOST")])]

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "syncsessions",
    "project.demo",
]

MIDDLEWARE = [
    "project.demo.csp.StrictCSPMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "syncsessions.middleware.SessionIdMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DEMO_DATABASE", BASE_DIR / f"demo{_SUFFIX}.sqlite3"),
    }
}

CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

SYNCSESSIONS = {
    "STASH_CLIENT_VIEWS": ["demo.note"],
    "SITE_URL": os.environ.get("DEMO_SITE_URL"),
    "ALLOW_PRIVATE_SITE_URLS": True,  # both sites are on this machine
}
SESSION_COOKIE_NAME = f"sessionid{_SUFFIX}"
CSRF_COOKIE_NAME = f"csrftoken{_SUFFIX}"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "static/"
LOGIN_REDIRECT_URL = "demo:front"
LOGOUT_REDIRECT_URL = "demo:front"
