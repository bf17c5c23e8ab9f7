"""`cdktf synth`, `diff` and `deploy` work with the committed cdktf.json."""

from __future__ import annotations

import os
import subprocess

import pytest

from ops import cdktf
from ops.console import ROOT
from tests.conftest import Local

pytestmark = pytest.mark.slow


def run(local: Local, *arguments: str) -> str:
    """Run the command line on the state of the tests' stack."""
    done = subprocess.run(
        [
            ROOT / "node_modules" / ".bin" / "cdktf",
            *arguments,
            "--output",
            os.path.relpath(local.folder / "cdktf.out", ROOT),
        ],
        cwd=ROOT,
        env=cdktf.environment() | {"TF_VAR_emulator_port": str(local.port), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_synth_writes_every_stack(local: Local) -> None:
    assert "local, production, production-github, workshop" in " ".join(run(local, "synth").split())


def test_diff_and_deploy_find_nothing_to_change(local: Local) -> None:
    assert "No changes" in run(local, "diff", "local")
    assert local.cloud.site_url in run(local, "deploy", "local", "--auto-approve")
    assert local.terraform.has_changes() is False
