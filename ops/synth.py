"""Run the CDKTF app."""

from __future__ import annotations

import subprocess
import sys

from ops import console
from ops.console import ROOT
from ops.failures import OperatorError


def synthesize(name: str) -> None:
    """Write the stacks of one environment to cdktf.out/; the folders of the others stay as they are.

    Arguments:
        name: of the environment.

    Raises:
        OperatorError: the app failed; the message has its output.
    """
    with console.working("Synthesizing the stack"):
        done = subprocess.run([sys.executable, "main.py", name], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OperatorError(f"the stack cannot be synthesized:\n{(done.stderr or done.stdout).strip()}")
