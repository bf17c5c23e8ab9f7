"""Finds a Chromium: for the pictures of the pages, and for the tests in a browser."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The page under test is on this machine. A browser that calls its vendor waits for an answer that never comes.
OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
]
_PINNED = "import chromium from '@sparticuz/chromium'; console.log(await chromium.executablePath())"
_INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def find() -> str:
    """Return the path of an installed Chromium or Chrome, or of the Chromium that package.json pins.

    Raises:
        RuntimeError: there is none.
    """
    for name in _INSTALLED:
        if found := shutil.which(name):
            return found
    if _MAC.exists():
        return str(_MAC)
    if platform.system() != "Linux" or not (ROOT / "node_modules" / "@sparticuz").is_dir():
        raise RuntimeError("no Chromium or Google Chrome was found; install one and run this again")
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
    if done.returncode:
        raise RuntimeError(f"the pinned Chromium cannot be unpacked:\n{done.stderr}")
    return done.stdout.strip()
