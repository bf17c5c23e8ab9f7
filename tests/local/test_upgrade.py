"""This version takes over what an earlier one deployed: data, backups and history."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeDeserializer
from typer.testing import CliRunner

from infra.settings import ENVIRONMENTS, load
from ops.__main__ import app
from ops.backups.function import invoke, make_drill
from ops.cloud import Cloud
from ops.console import ROOT
from ops.local.aws import open_links, prepare_account
from ops.local.emulator import Emulator
from ops.local.stack import terraform_in
from ops.terraform import Terraform
from rollbook.engine import executions
from tests.conftest import Stacks
from tests.ports import free_port

pytestmark = pytest.mark.slow

# The version that is deployed: the last one before the rooms were moved.
FROM = "30e687b8c417899701f8d6918c22e67e45cdf2e3"
# What cannot be made again if Terraform deletes it, and what others have the name or the key of.
DATA = {
    "aws_api_gateway_api_key",
    "aws_api_gateway_rest_api",
    "aws_backup_vault",
    "aws_cloudfront_distribution",
    "aws_cloudwatch_event_archive",
    "aws_cloudwatch_log_group",
    "aws_dynamodb_table",
    "aws_kms_key",
    "aws_s3_bucket",
    "aws_sqs_queue",
}
RECORDS = {f"SV{number:03}": {"class": {"S": "10A1"}, "n": {"N": str(number)}} for number in range(20)}
LAYOUTS: tuple[dict[str, str], ...] = (
    {},
    {"compression": "gzip"},
    {"format": "dynamodb-export", "compression": "zstd"},
)


def checked_out(folder: Path) -> Path:
    """Write the earlier version into a folder, with today's packages for the zips, so that nothing is fetched."""
    found = subprocess.run(["git", "archive", FROM], cwd=ROOT, capture_output=True, check=False)
    if found.returncode:
        pytest.fail(f"the commit {FROM} is not here; fetch the whole history: git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(found.stdout)) as archive:
        archive.extractall(folder, filter="data")
    lock = json.loads((folder / "Pipfile.lock").read_text())
    lock["lambda-packages"] = json.loads((ROOT / "Pipfile.lock").read_text())["lambda-packages"]
    (folder / "Pipfile.lock").write_text(json.dumps(lock))
    for settings in (folder / "environments").glob("*.toml"):
        if settings.name != "local.toml":
            settings.unlink()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lambda-packages").symlink_to(ROOT / ".cache" / "lambda-packages")
    return folder


def synthesized(project: Path, folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=project,
        env={**os.environ, "CDKTF_OUTDIR": str(folder), "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "stacks" / "local"


@dataclass(frozen=True)
class Deployed:
    """The earlier version's stack, what was done with it, and the folder of Terraform's state."""

    cloud: Cloud
    folder: Path
    port: int
    keys: list[str]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("upgrade")
    earlier = checked_out(folder / "earlier")
    emulator = Emulator(folder / "emulator", free_port())
    emulator.start()
    try:
        stack = terraform_in(synthesized(earlier, folder / "earlier.out"), emulator.port)
        stack.init()
        settings = load(ENVIRONMENTS / "local.toml")
        prepare_account(emulator.port, settings)
        stack.apply()
        open_links(emulator.port, settings.region)
        cloud = Cloud(settings, stack.outputs(), emulator.port)
        yield Deployed(cloud, folder, emulator.port, used(cloud))
    finally:
        emulator.stop()
        shutil.rmtree(folder)


def used(cloud: Cloud) -> list[str]:
    """Save records, back them up in every layout, drill and restore, all with the deployed functions."""
    dynamodb, name = cloud.client("dynamodb"), cloud.settings.records.table_name
    for studentid, attributes in RECORDS.items():
        dynamodb.put_item(TableName=name, Item={"studentid": {"S": studentid}, **attributes})
    events = [{"table": {"table_name": name, **layout}} if layout else {} for layout in LAYOUTS]
    keys = [invoke(cloud, cloud.settings.backups.function_name, event)["key"] for event in events]
    make_drill(cloud)
    restored = {"key": keys[0], "to": f"{name}-restored-earlier"}
    assert invoke(cloud, cloud.settings.restores.restore_function_name, restored)["items"] == len(RECORDS)
    return keys


@pytest.fixture(scope="module")
def upgraded(deployed: Deployed, stacks: Stacks) -> tuple[Deployed, Terraform, dict[str, Any]]:
    """Apply this version to the same state; also return the plan that was applied."""
    folder = deployed.folder / "this.out" / "stacks" / "local"
    shutil.copytree(stacks.path("local"), folder, symlinks=True, ignore=shutil.ignore_patterns(".terraform*"))
    shutil.copyfile(stacks.path("local") / ".terraform.lock.hcl", folder / ".terraform.lock.hcl")
    stack = terraform_in(folder, deployed.port)
    stack.init()
    plan = json.loads(stack.plan_json(deployed.folder / "plan.bin"))
    stack.apply()
    return deployed, stack, plan


Upgraded = tuple[Deployed, Terraform, dict[str, Any]]


def test_no_data_is_deleted_or_replaced(upgraded: Upgraded) -> None:
    _, stack, plan = upgraded
    gone = [each["address"] for each in plan["resource_changes"] if "delete" in each["change"]["actions"]]
    assert [address for address in gone if address.partition(".")[0] in DATA] == []
    assert any("update" in each["change"]["actions"] for each in plan["resource_changes"])
    assert not stack.has_changes()


def test_the_records_are_there(upgraded: Upgraded) -> None:
    cloud = upgraded[0].cloud
    found = cloud.client("dynamodb").scan(TableName=cloud.settings.records.table_name)["Items"]
    assert {item["studentid"]["S"]: item["n"] for item in found} == {key: item["n"] for key, item in RECORDS.items()}


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
def test_an_earlier_backup_is_whole_and_restores(upgraded: Upgraded, number: int) -> None:
    cloud, key = upgraded[0].cloud, upgraded[0].keys[number]
    restores = cloud.settings.restores
    whole = invoke(cloud, restores.verify_function_name, {"key": key})
    assert (whole["isWhole"], whole["items"]) == (True, len(RECORDS))
    table = f"{cloud.settings.records.table_name}-restored-{number}"
    assert invoke(cloud, restores.restore_function_name, {"key": key, "to": table})["items"] == len(RECORDS)
    same = invoke(cloud, restores.verify_function_name, {"key": key, "against": cloud.settings.records.table_name})
    assert same["isEqual"]


def test_every_row_of_the_history_reads(upgraded: Upgraded) -> None:
    cloud = upgraded[0].cloud
    deserialize = TypeDeserializer().deserialize
    items = cloud.client("dynamodb").scan(TableName=cloud.settings.backups.history_table_name)["Items"]
    rows = [{name: deserialize(value) for name, value in item.items()} for item in items]
    read = [executions.read(row) for row in rows if "kind" in row]
    assert {(each.kind, each.table_name) for each in read} >= {
        ("backup", "studentData"),
        ("drill", "studentData"),
        ("restore", "studentData-restored-earlier"),
    }


def test_list_and_report_know_the_earlier_backups(upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cloud, "of", lambda _: upgraded[0].cloud)
    listed = json.loads(CliRunner().invoke(app, ["backups", "list", "--json"]).stdout)
    known = {row["key"]: row["status"] for row in listed}
    assert {known[key] for key in upgraded[0].keys} == {"completed"}
    report = json.loads(CliRunner().invoke(app, ["report", "--json"]).stdout)
    assert not [line for line in report["unknown"] if "history" in line]


def test_the_next_backup_and_drill_succeed(upgraded: Upgraded) -> None:
    cloud = upgraded[0].cloud
    made = invoke(cloud, cloud.settings.backups.function_name, {})
    assert made["items"] == len(RECORDS)
    assert make_drill(cloud)["key"] == made["key"]
