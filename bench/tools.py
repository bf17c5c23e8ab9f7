"""The programs of others that are measured, and what draws the plot: in an environment of their own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from bench.measure import ROOT

_REQUIREMENTS = ROOT / "bench" / "requirements.txt"


def folder() -> Path:
    """Return the folder with the programs, and install them if they are not there."""
    digest = hashlib.sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = ROOT / ".cache" / "bench" / digest
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--requirement", str(_REQUIREMENTS)], check=True)
        (home / "ready").touch()
    return home / "bin"
