"""The real provider takes every stack: types, names, and the values that it knows."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from infra.settings import load_all
from ops import terraform
from ops.console import ROOT
from tests.conftest import Stacks
from tests.tiers import slow_beyond

STACKS = [name for settings in load_all() for name in settings.stack_names]


# Production has every type of resource. The local stack is planned and applied by other tests.
@pytest.mark.parametrize("env", slow_beyond(1, sorted(STACKS, key=lambda name: name != "production")))
def test_terraform_validates_the_stack(stacks: Stacks, env: str) -> None:
    program = terraform.find()
    environment = terraform.environment(terraform.cli_configuration(ROOT / ".cache"))
    for arguments in (["init", "-backend=false", "-input=false", "-lockfile=readonly"], ["validate"]):
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


LOCK = (ROOT / "terraform.lock.hcl").read_text("utf-8")


def test_the_lock_is_of_the_provider_that_the_stacks_ask_for(stacks: Stacks) -> None:
    for name in STACKS:
        asked = stacks.json(name)["terraform"]["required_providers"]
        assert {provider["source"] for provider in asked.values()} == {"aws"}
        assert asked["aws"]["version"] == re.search(r'version += "([^"]+)"', LOCK)[1]  # type: ignore[index]
        assert (stacks.path(name) / ".terraform.lock.hcl").read_text("utf-8") == LOCK


def test_the_lock_has_every_platforms_archive_and_what_a_mirror_unpacks() -> None:
    """A release of the provider is 14 archives and a manifest; `h1` is what a mirror has of one once unpacked."""
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', LOCK))) == 15
    assert len(set(re.findall(r'"h1:[0-9A-Za-z+/]{43}="', LOCK))) >= 2


def test_a_provider_of_other_bytes_is_refused(tmp_path: Path) -> None:
    stack = {"terraform": {"required_providers": {"aws": {"source": "aws", "version": "5.100.0"}}}}
    (tmp_path / "main.tf.json").write_text(json.dumps(stack))
    other = re.sub(r'"(h1|zh):[^"]+",', "", LOCK).replace("hashes = [", f'hashes = ["h1:{"A" * 43}="')
    (tmp_path / ".terraform.lock.hcl").write_text(other)
    done = subprocess.run(
        [terraform.find(), "init", "-input=false", "-no-color", "-lockfile=readonly"],
        cwd=tmp_path,
        env=terraform.environment(terraform.cli_configuration(ROOT / ".cache")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "checksums" in done.stderr
