"""The real provider takes every stack: types, names, and the values that it knows."""

from __future__ import annotations

import subprocess

import pytest

from infra.settings import load_all
from ops import terraform
from ops.console import ROOT
from tests.conftest import Stacks


@pytest.mark.parametrize("env", [settings.name for settings in load_all()])
def test_terraform_validates_the_stack(stacks: Stacks, env: str) -> None:
    program = terraform.find()
    environment = terraform.environment(terraform.cli_configuration(ROOT / ".cache"))
    for arguments in (["init", "-backend=false", "-input=false"], ["validate"]):
        done = subprocess.run(
            [program, *arguments, "-no-color"],
            cwd=stacks.path(env),
            env=environment | {"TF_DATA_DIR": ".terraform-validate"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Success! The configuration is valid." in done.stdout
