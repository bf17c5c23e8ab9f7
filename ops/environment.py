"""An environment that need not be deployed: its settings, its folder, and clients of where it will stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from infra.settings import ENVIRONMENTS, Settings, SettingsError, load
from ops import local
from ops.console import ROOT, OperatorError
from ops.terraform import Terraform

Env = Annotated[str, typer.Argument(metavar="ENV", help="Environment, as in environments/<name>.toml.")]


def settings_of(env: str) -> Settings:
    """Return an environment's settings.

    Raises:
        OperatorError: there is none of that name, or its file is not right.
    """
    try:
        return load(ENVIRONMENTS / f"{env}.toml")
    except SettingsError as error:
        raise OperatorError(str(error)) from None


def stack_of(settings: Settings) -> Path:
    """Return the folder of its synthesized stack."""
    return ROOT / "cdktf.out" / "stacks" / settings.name


def terraform_of(settings: Settings, folder: Path) -> Terraform:
    """Return Terraform in a folder with its synthesized stack.

    Raises:
        OperatorError: it is emulated, and the embedded AWS does not run.
    """
    return local.terraform_in(folder, _port()) if settings.emulated else Terraform(folder)


def client(settings: Settings, service: str, region: str) -> Any:
    """Return a boto3 client: with the caller's own credentials, or those of the embedded AWS.

    Raises:
        OperatorError: it is emulated, and the embedded AWS does not run.
    """
    if settings.emulated:
        return local.client(service, _port(), region)
    return boto3.client(service, region_name=region)


def _port() -> int:
    port = local.running_port()
    if port is None:
        raise OperatorError("the embedded AWS does not run; start it with: python -m ops local up")
    return port
