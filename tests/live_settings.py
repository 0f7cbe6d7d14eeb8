"""The demo's settings for live servers: with TEST_LIVE_LAYER several of them share a Redis as channel layer."""

import os

from project.settings import *  # noqa: F403

if "TEST_LIVE_LAYER" in os.environ:
    CHANNEL_LAYERS = {
        "default": {
            "BACKEND": os.environ["TEST_LIVE_LAYER"],
            "CONFIG": {"hosts": [{"address": os.environ["TEST_REDIS_URL"], "socket_timeout": None}]},
        }
    }
