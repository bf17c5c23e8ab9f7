"""The CDKTF app: a stack for each environment, one for its access from GitHub, and the kept lock of their provider."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cdktf import App

from infra.github import GitHubStack
from infra.settings import Settings
from infra.stack import RollbookStack

LOCK = Path(__file__).resolve().parent.parent / "terraform.lock.hcl"


def synthesize(environments: Sequence[Settings], folder: Path | None = None) -> None:
    """Write the stacks of some environments.

    Arguments:
        folder: where to; without it, where CDKTF writes by itself.
    """
    app = App(outdir=str(folder)) if folder else App()
    for settings in environments:
        stack = RollbookStack(app, settings)
        if settings.github.repository:
            GitHubStack(app, settings, stack)
    app.synth()
    for name in (name for settings in environments for name in settings.stack_names):
        # Beside the stack is where Terraform looks for it; there it has a dot.
        shutil.copyfile(LOCK, Path(app.outdir, "stacks", name, ".terraform.lock.hcl"))
