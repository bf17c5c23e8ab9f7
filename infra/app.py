"""The CDKTF app: a stack for each environment, with the kept lock of its provider."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from cdktf import App

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
        RollbookStack(app, settings)
    app.synth()
    for settings in environments:
        # Beside the stack is where Terraform looks for it; there it has a dot.
        shutil.copyfile(LOCK, Path(app.outdir, "stacks", settings.name, ".terraform.lock.hcl"))
