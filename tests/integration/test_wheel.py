"""The wheel that a stranger installs: what is in it, and that the README's steps make a project of it that works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def run(*command: str, cwd: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_is_in_it(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (ROOT / "syncsessions").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT)) in names
    assert "syncsessions/py.typed" in names
    assert any(name.endswith(".mo") for name in names)
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"syncsessions"}


def code_block(after: str) -> str:
    """The README's first code block behind a heading."""
    found = re.search(rf"^## {after}$.*?^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert found
    return found[1]


def test_the_readmes_steps_in_an_empty_project(wheel: Path, tmp_path: Path) -> None:
    installed, site = tmp_path / "installed", tmp_path / "mysite"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed), str(wheel))
    run(*pip, cwd=tmp_path)
    env = {"PYTHONPATH": str(installed), "DJANGO_SETTINGS_MODULE": "mysite.settings", "PYTHONWARNINGS": "error"}
    run(sys.executable, "-m", "django", "startproject", "mysite", cwd=tmp_path, **{**env, "DJANGO_SETTINGS_MODULE": ""})
    settings, urls = site / "mysite" / "settings.py", site / "mysite" / "urls.py"
    told_settings, told_urls, told_asgi = re.split(r"^# (?:urls|asgi)\.py$", code_block("Install"), flags=re.MULTILINE)

    apps = told_settings.replace('INSTALLED_APPS = ["daphne", ...,', 'INSTALLED_APPS = ["daphne", *INSTALLED_APPS,')
    apps = apps.replace('"django.contrib.staticfiles", "syncsessions"]', '"syncsessions"]')
    ours = '"syncsessions.middleware.SessionIdMiddleware",'
    assert ours in told_settings
    middleware = (
        'MIDDLEWARE.insert(MIDDLEWARE.index("django.contrib.sessions.middleware.SessionMiddleware") + 1, '
        + ours[:-1]
        + ")"
    )
    apps = re.sub(r"MIDDLEWARE = \[.*?^\]", middleware, apps, flags=re.DOTALL | re.MULTILINE)
    settings.write_text(settings.read_text() + apps)
    told_urls = told_urls.replace("[..., ", "[*urlpatterns, ")
    urls.write_text(urls.read_text() + "\nfrom django.urls import include\n" + told_urls)
    (site / "mysite" / "asgi.py").write_text(told_asgi)

    manage = (sys.executable, "manage.py")
    run(*manage, "migrate", "--verbosity", "0", cwd=site, **env)
    assert "no issues" in run(*manage, "check", "--database", "default", cwd=site, **env)
    assert "No changes" in run(*manage, "makemigrations", "--check", "--dry-run", cwd=site, **env)
    script = (
        "import syncsessions, mysite.asgi; from syncsessions.stash import StashSession; "
        "print(syncsessions.__file__, StashSession('a stranger').merge('shop', {'a': 1}))"
    )
    told = run(*manage, "shell", "-c", script, cwd=site, **env)
    assert str(installed) in told
    assert told.split()[-1] == "1"
