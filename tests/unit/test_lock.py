"""Pipfile.lock matches the Pipfile on every machine, independent of the user's pip configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ops.console import ROOT

_ELSEWHERE = "[global]\nextra-index-url = http://127.0.0.1:9/simple\n"


@pytest.mark.parametrize("configuration", [None, _ELSEWHERE], ids=["an empty home", "a home with another index"])
def test_the_lock_is_up_to_date_in_any_home(configuration: str | None, tmp_path: Path) -> None:
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    if configuration:
        (tmp_path / "pip.conf").write_text(configuration)
        variables["PIP_CONFIG_FILE"] = str(tmp_path / "pip.conf")
    done = subprocess.run(["make", "verify-lock"], cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "up-to-date" in done.stdout
