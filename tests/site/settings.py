"""A small site for the browser tests: one page for each thing that a form may do."""

import os

from project.settings import *  # noqa: F403
from project.settings import BASE_DIR, INSTALLED_APPS, MIDDLEWARE, TEMPLATES

INSTALLED_APPS = [*INSTALLED_APPS, "tests.site"]
MIDDLEWARE = [name for name in MIDDLEWARE if not name.startswith("project.")] + ["tests.site.csp.StrictPolicy"]
ROOT_URLCONF = "tests.site.urls"
SYNCSESSIONS = {"STASH_CLIENT_VIEWS": ["site.plain"]}
TEMPLATES = [{**TEMPLATES[0], "DIRS": [BASE_DIR / "tests" / "site" / "templates"]}]
LOGOUT_REDIRECT_URL = "/done/"

if os.environ.get("TEST_REDIS_URL") and os.environ.get("SITE_LAYER") == "redis":
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [{"address": os.environ["TEST_REDIS_URL"], "socket_timeout": None}]},
        }
    }
