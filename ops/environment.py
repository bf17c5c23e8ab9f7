"""An environment that need not be deployed: its settings, its stack's folder, and clients of its account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3

from infra.settings import ENVIRONMENTS, Settings, SettingsError, load
from ops.console import ROOT
from ops.failures import OperatorError
from ops.local import aws, emulator, stack
from ops.options import environments
from ops.terraform import Terraform


def settings_of(env: str) -> Settings:
    """Return the settings of an environment.

    Raises:
        OperatorError: there is no such environment, or its file is not valid.
    """
    if env not in environments():
        raise OperatorError(f"there is no environment {env}; environments/ has: {', '.join(environments())}")
    try:
        return load(ENVIRONMENTS / f"{env}.toml")
    except SettingsError as error:
        raise OperatorError(str(error)) from None


def stack_of(settings: Settings) -> Path:
    """Return the folder of the synthesized stack."""
    return ROOT / "cdktf.out" / "stacks" / settings.name


def terraform_of(settings: Settings, folder: Path) -> Terraform:
    """Return Terraform for a folder with the synthesized stack.

    Raises:
        OperatorError: the environment is emulated, and the embedded AWS does not run.
    """
    return stack.terraform_in(folder, _port()) if settings.emulated else Terraform(folder)


def client(settings: Settings, service: str, region: str) -> Any:
    """Return a boto3 client with the credentials of the caller, or of the embedded AWS.

    Raises:
        OperatorError: the environment is emulated, and the embedded AWS does not run.
    """
    if settings.emulated:
        return aws.client(service, _port(), region)
    return boto3.client(service, region_name=region)


def _port() -> int:
    return emulator.required_port()
