"""`python -m ops cdktf`: the CDKTF command line, with this project's Node, Terraform and provider."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops import local, terraform
from ops.console import ROOT, OperatorError, command, out

_PROGRAM = ROOT / "node_modules" / ".bin" / "cdktf"


@command
def check_terraform() -> None:
    """Find Terraform and its provider, or fetch them, and tell where Terraform is."""
    out.print(f"Terraform: {terraform.find()}", highlight=False, soft_wrap=True)
    with out.status("Fetching the provider"):
        terraform.keep_provider()


@command
def cdktf(arguments: Annotated[list[str], typer.Argument(help="Such as: deploy workshop")]) -> None:
    """Run the CDKTF command line; ends with its exit code."""
    if not _PROGRAM.exists():
        raise OperatorError("the CDKTF command line is not installed; run: npm ci --ignore-scripts")
    raise typer.Exit(subprocess.run([_PROGRAM, *arguments], cwd=ROOT, env=environment(), check=False).returncode)


def environment() -> dict[str, str]:
    """Return the environment in which cdktf-cli runs here."""
    values = terraform.environment(terraform.cli_configuration(ROOT / ".cache"))
    values |= {
        "CDKTF_HOME": str(ROOT / ".cache" / "cdktf"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "TERRAFORM_BINARY_NAME": str(terraform.find()),
    }
    if not sys.stdout.isatty():
        values["CI"] = "1"  # without it the command draws its progress over and over
    port = local.running_port()
    return values | ({"TF_VAR_emulator_port": str(port)} if port else {})
