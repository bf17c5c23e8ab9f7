"""A plan, the guard and drift on the embedded AWS: what is changed by hand is shown, what is lost is stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops import plan as command
from ops.__main__ import app
from ops.terraform import Terraform
from tests.conftest import Local

Ops = Callable[..., Result]


@pytest.fixture
def ops(local: Local, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ops:
    """The commands on the stack that the tests have applied, without synthesizing it again."""

    def make(_: Any, folder: Path | None, *options: str) -> bytes:
        return local.terraform.plan_json((folder or tmp_path) / "plan.bin", *options)

    monkeypatch.setattr(command, "_make", make)
    monkeypatch.setattr(command, "stack_of", lambda _: local.terraform.folder)
    monkeypatch.setattr(command, "EXCEPTIONS", tmp_path / "exceptions.toml")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_what_is_changed_by_hand_is_shown_as_drift_and_as_a_plan(ops: Ops, local: Local) -> None:
    untouched = ops("drift", "local")
    assert untouched.exit_code == 0, untouched.output
    logs, group = local.cloud.client("logs"), "/aws/lambda/getStudentData"
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    try:
        drifted = ops("drift", "local", "--json")
        planned = ops("plan", "local", "--json")
    finally:
        logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    assert (drifted.exit_code, planned.exit_code) == (command.CHANGES, command.CHANGES)
    [change] = json.loads(drifted.stdout)["changes"]
    assert (change["action"], change["lines"]) == ("change", ["retention_in_days: 30 → 1"])
    [change] = json.loads(planned.stdout)["changes"]
    assert change["lines"] == ["retention_in_days: 1 → 30"]
    mended = ops("drift", "local")
    assert mended.exit_code == 0, mended.output


def test_the_guard_stops_a_table_from_being_deleted_until_an_exception_lets_it(
    ops: Ops, local: Local, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "stack"
    shutil.copytree(local.terraform.folder, copy, symlinks=True)
    stack = json.loads((copy / "cdk.tf.json").read_text())
    [address] = [name for name in stack["resource"]["aws_dynamodb_table"] if name.startswith("signups")]
    stack["terraform"]["backend"] = {"local": {"path": str(local.folder / "terraform.local.tfstate")}}
    found = next(local.folder.rglob("terraform.local.tfstate"), None)
    assert found is not None
    stack["terraform"]["backend"]["local"]["path"] = str(found)
    table = stack["resource"]["aws_dynamodb_table"][address]
    table["name"] = f"{table['name']}-elsewhere"
    (copy / "cdk.tf.json").write_text(json.dumps(stack))
    terraform = Terraform(copy, local.terraform.variables)
    terraform._run("init", "-input=false", "-no-color", "-reconfigure")
    monkeypatch.setattr(command, "_make", lambda *_: terraform.plan_json(tmp_path / "plan.bin"))
    stopped = ops("guard", "local")
    assert stopped.exit_code == command.STOPPED
    assert f"keep-data aws_dynamodb_table.{address}: replaces welcomed-users" in stopped.stdout
    today = datetime.now(UTC).date()
    exemption = (
        '[[exception]]\nrule = "{rule}"\naddress = "{address}"\nreason = "welcomes may come twice"\n'
        'approved_by = "An"\n'
        "expires = {day}\n"
    )

    def allow(day: Any) -> None:
        text = exemption.format(rule="keep-data", address=f"aws_dynamodb_table.{address}", day=day)
        (tmp_path / "exceptions.toml").write_text(text)

    allow(today)
    assert ops("guard", "local").exit_code == 0
    allow(today - timedelta(days=1))
    expired = ops("guard", "local")
    assert expired.exit_code == command.STOPPED
    assert "its exception expired on" in " ".join(expired.stdout.split())
