"""The demo's settings for live servers, and what the environment puts over them.

TEST_LIVE_LAYER is a channel layer on the Redis at TEST_LIVE_LAYER_URL (else TEST_REDIS_URL), which drops the share
TEST_LIVE_LOSS of its messages. TEST_LIVE_SYNCSESSIONS is JSON that goes over SYNCSESSIONS.
"""

import json
import os

from project.settings import *  # noqa: F403
from project.settings import SYNCSESSIONS

PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.MD5PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
SYNCSESSIONS = {**SYNCSESSIONS, **json.loads(os.environ.get("TEST_LIVE_SYNCSESSIONS", "{}"))}

if "TEST_LIVE_LAYER" in os.environ:
    url = os.environ.get("TEST_LIVE_LAYER_URL") or os.environ["TEST_REDIS_URL"]
    layer = {
        "BACKEND": os.environ["TEST_LIVE_LAYER"],
        "CONFIG": {"hosts": [{"address": url, "socket_timeout": None}]},
    }
    loss = float(os.environ.get("TEST_LIVE_LOSS", "0"))
    CHANNEL_LAYERS = {
        "default": {"BACKEND": "tests.layers.LossyLayer", "CONFIG": {**layer, "loss": loss}} if loss else layer
    }
