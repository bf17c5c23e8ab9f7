"""The programs of others that measure or check: each set in an environment of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

from bench.measure import ROOT

_REQUIREMENTS = ROOT / "bench" / "requirements.txt"


def folder(requirements: Path = _REQUIREMENTS) -> Path:
    """Return the folder with some programs, and install them if they are not there.

    Arguments:
        requirements: what to install, locked with hashes.
    """
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = ROOT / ".cache" / "tools" / digest
    if not (home / "ready").exists():
        venv.create(home, with_pip=True, clear=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--require-hashes", "--requirement", str(requirements)], check=True)
        (home / "ready").touch()
    return home / "bin"
