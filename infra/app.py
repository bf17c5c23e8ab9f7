"""The CDKTF app. Each environment has a stack, a stack for access from GitHub, and the provider's lock file."""

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
        folder: the output folder; CDKTF's default if None.
    """
    app = App(outdir=str(folder)) if folder else App()
    for settings in environments:
        stack = RollbookStack(app, settings)
        if settings.github.repository:
            GitHubStack(app, settings, stack)
    app.synth()
    for name in (name for settings in environments for name in settings.stack_names):
        # Terraform reads the lock file from the stack's folder, under a name with a dot.
        shutil.copyfile(LOCK, Path(app.outdir, "stacks", name, ".terraform.lock.hcl"))
