"""Settings of the tests: the demo project's, on the databases that there are."""

from project.settings import *  # noqa: F403
from tests.servers import databases

DEBUG = False
SECRET_KEY = "tests only"
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
DATABASES = databases()
DATABASE_ROUTERS = ["tests.routers.StashRouter"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SILENCED_SYSTEM_CHECKS = ["syncsessions.W004", "syncsessions.W008"]
