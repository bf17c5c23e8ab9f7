"""`rollbook cdktf` and `terraform`: the CDKTF command line and Terraform, with the versions of this project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops import console, terraform
from ops.commands import command
from ops.console import ROOT
from ops.exits import Exit
from ops.failures import OperatorError
from ops.local import emulator
from ops.options import Json

app = typer.Typer()
_PROGRAM = ROOT / "node_modules" / ".bin" / "cdktf"


@command(app, "terraform", example="rollbook terraform")
def check_terraform(as_json: Json = False) -> None:
    """Find or download Terraform and its provider."""
    program = terraform.find()
    with console.working("Downloading the provider"):
        terraform.keep_provider()
    if as_json:
        console.say_json({"terraform": str(program)})
    else:
        console.say(f"Terraform: {program}")


@command(
    app,
    "cdktf",
    example="rollbook cdktf list",
    codes={Exit.FAILED: "cdktf failed"},
    context_settings={"ignore_unknown_options": True},
)
def cdktf(arguments: Annotated[list[str], typer.Argument(help="Arguments of cdktf, such as: diff workshop")]) -> None:
    """Run the CDKTF command line."""
    if not _PROGRAM.exists():
        raise OperatorError("the CDKTF command line is not installed; run: npm ci --ignore-scripts")
    if subprocess.run([_PROGRAM, *arguments], cwd=ROOT, env=environment(), check=False).returncode:
        raise typer.Exit(Exit.FAILED)


def environment() -> dict[str, str]:
    """Return the environment variables of cdktf-cli."""
    values = terraform.environment(terraform.cli_configuration(ROOT / ".cache"))
    values |= {
        "CDKTF_HOME": str(ROOT / ".cache" / "cdktf"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "TERRAFORM_BINARY_NAME": str(terraform.find()),
    }
    if not sys.stdout.isatty():
        values["CI"] = "1"  # otherwise cdktf redraws its progress again and again
    port = emulator.running_port()
    return values | ({"TF_VAR_emulator_port": str(port)} if port else {})
