"""A Chromium for the tests: the one that package.json pins, or one that is installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from ops.console import ROOT

_PINNED = "import chromium from '@sparticuz/chromium'; console.log(await chromium.executablePath())"
_INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
# The page is on this machine; a browser that calls home only fails slowly where it cannot.
_OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]


def find_chromium() -> str:
    for name in _INSTALLED:
        if found := shutil.which(name):
            return found
    if _MAC.exists():
        return str(_MAC)
    if platform.system() != "Linux" or not (ROOT / "node_modules" / "@sparticuz").is_dir():
        pytest.fail("the browser tests need Chromium or Google Chrome; install one and run this again")
    folder = ROOT / ".cache" / "chromium"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [Path(sys.executable).parent / "node", "--input-type=module", "--eval", _PINNED],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=find_chromium(), args=_OPTIONS)
        yield launched
        launched.close()
