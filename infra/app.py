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
    for name in stack_names(environments):
        # Beside the stack is where Terraform looks for it; there it has a dot.
        shutil.copyfile(LOCK, Path(app.outdir, "stacks", name, ".terraform.lock.hcl"))


def stack_names(environments: Sequence[Settings]) -> list[str]:
    """Return the names of the stacks of some environments."""
    with_github = [settings for settings in environments if settings.github.repository]
    return [settings.name for settings in environments] + [f"{settings.name}-github" for settings in with_github]
