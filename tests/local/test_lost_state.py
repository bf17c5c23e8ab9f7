"""A lost state: every resource of a deployed stack is found by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops import adopt, environment, plan, synth
from ops.__main__ import app
from tests.conftest import Local
from tests.synth.test_addresses import addresses

pytestmark = pytest.mark.slow


@pytest.fixture
def stack(local: Local, tmp_path: Path) -> Path:
    """The tests' stack at another place, where there is no state of it."""
    stack = tmp_path / "cdktf.out" / "stacks" / "local"
    shutil.copytree(local.terraform.folder, stack, symlinks=True, ignore=shutil.ignore_patterns(".terraform"))
    return stack


def test_every_resource_of_the_stack_is_found(local: Local, stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (adopt, plan):
        monkeypatch.setattr(module, "stack_of", lambda _: stack)
    monkeypatch.setattr(environment, "_port", lambda: local.port)
    monkeypatch.setattr(synth, "synthesize", lambda _: None)
    found = CliRunner().invoke(app, ["adopt", "--env", "local", "--json"])
    assert found.stdout, found.stderr
    document = json.loads(found.stdout)
    everything = set(addresses(json.loads((stack / "cdk.tf.json").read_text())))
    anew = {address for address in everything if address.startswith("aws_api_gateway_deployment.")}
    assert set(document["found"]) == everything - anew
    counts = document["plan"]["counts"]
    assert {action: counts[action] for action in ("destroy", "replace", "forget", "add")} == {
        "destroy": 0,
        "replace": 0,
        "forget": 0,
        "add": len(anew),
    }
    assert document["leftovers"] == []
