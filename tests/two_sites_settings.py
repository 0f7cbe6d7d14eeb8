"""One of two sites that are linked: the live servers' settings with the connections mounted, and a way to act there."""

from tests.live_settings import *  # noqa: F403

ROOT_URLCONF = "tests.two_sites_urls"
