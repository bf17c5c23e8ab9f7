"""Adoption on the embedded AWS: of the workshop made by hand, and of a whole stack whose state is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.settings import Settings, load
from ops import adopt, environment, local, plan
from ops.__main__ import app
from tests.conftest import Local, synthesize_settings
from tests.local import console
from tests.synth.test_addresses import addresses

# MiniStack takes an access key of 12 digits for the root user's of that account.
ACCOUNT = "210987654321"
EXEMPTION = """[[exception]]
rule = "{}"
address = "{}"
reason = "what is older is not wanted"
approved_by = "An"
expires = 2999-01-01
"""
Ops = Callable[..., Result]


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Settings, stack: Path) -> Ops:
    """The command on a stack that is synthesized already."""
    for module in (adopt, plan):
        monkeypatch.setattr(module, "settings_of", lambda _: settings)
        monkeypatch.setattr(module, "stack_of", lambda _: stack)
    monkeypatch.setattr(local, "synthesize", lambda: None)
    monkeypatch.setattr(plan, "EXCEPTIONS", tmp_path / "exceptions.toml")
    return lambda *arguments: CliRunner().invoke(app, ["adopt", settings.name, *arguments])


@pytest.fixture
def port(local: Local, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(environment, "_port", lambda: local.port)
    return local.port


class TestByHand:
    @pytest.fixture
    def settings(self) -> Settings:
        return load(Path(__file__).with_name("by-hand.toml"))

    @pytest.fixture
    def client(self, port: int, monkeypatch: pytest.MonkeyPatch) -> console.Client:
        def client(_: Any, service: str, region: str) -> Any:
            return local.client(service, port, region, aws_access_key_id=ACCOUNT)

        monkeypatch.setattr(environment, "client", client)
        return lambda service: client(None, service, console.REGION)

    @pytest.fixture
    def stack(self, settings: Settings, tmp_path: Path) -> Path:
        stack = synthesize_settings(settings, tmp_path / "cdktf.out").path(settings.name)
        path = stack / "cdk.tf.json"
        path.write_text(path.read_text().replace('"access_key": "test"', f'"access_key": "{ACCOUNT}"'))
        return stack

    def test_what_was_made_by_hand_is_taken_over_with_all_its_data(
        self, ops: Ops, client: console.Client, tmp_path: Path
    ) -> None:
        console.build(client, ACCOUNT)
        table = client("dynamodb").describe_table(TableName="studentData")["Table"]

        shown = ops("--json")
        assert shown.exit_code == plan.STOPPED, shown.output
        before = json.loads(shown.stdout)
        assert before["isApplied"] is False
        kinds = {address.partition(".")[0] for address in before["found"]}
        assert kinds >= {
            "aws_api_gateway_api_key",
            "aws_api_gateway_rest_api",
            "aws_api_gateway_stage",
            "aws_cloudfront_distribution",
            "aws_dynamodb_table",
            "aws_iam_role",
            "aws_lambda_function",
            "aws_s3_bucket",
            "aws_scheduler_schedule",
            "aws_sesv2_email_identity",
        }
        changes = {change["address"]: change for change in before["plan"]["changes"]}
        assert not {change["action"] for change in changes.values()} & {"destroy", "replace", "forget"}
        [records] = [change for address, change in changes.items() if address.startswith("aws_dynamodb_table.records")]
        assert "deletion_protection_enabled: false → true" in records["lines"]
        assert "point_in_time_recovery[0].enabled: false → true" in records["lines"]
        assert {left["what"] for left in before["leftovers"]} == {
            "path /hello of the API",
            "permission console-backup-POST of BackupDynamoDBAndSendEmail",
            "permission console-hello-GET of getStudentData",
            "permission console-students-GET of getStudentData",
            "permission console-students-POST of insertStudentData",
            "policy ByHand of the role Amazon_EventBridge_Scheduler_LAMBDA_7e5e967abf",
            "policy ByHand of the role DynamoDBBackupRoleStudent",
            "role getStudentData-role-x1y2z3, which getStudentData has now",
            "role insertStudentData-role-a4b5c6, which insertStudentData has now",
            "schedule TryTheBackup in the group default",
        }

        # The guard stops what would delete: older logs, older backups. With exceptions it goes.
        stopped = {(finding["rule"], finding["address"]) for finding in before["plan"]["findings"]}
        assert {rule for rule, _ in stopped} == {"keep-retention"}
        assert ops("--apply", "--yes").exit_code == plan.STOPPED
        (tmp_path / "exceptions.toml").write_text("".join(EXEMPTION.format(*each) for each in sorted(stopped)))
        done = ops("--apply", "--yes", "--json")
        assert done.exit_code == 0, done.output
        after = json.loads(done.stdout)
        assert after["isApplied"] is True
        assert after["plan"]["changes"] == []

        # All that was there is there, and it is the same table, key and API.
        pages = client("dynamodb").get_paginator("scan").paginate(TableName="studentData")
        items = {item["studentid"]["S"]: item for page in pages for item in page["Items"]}
        assert {id_: item["name"]["S"] for id_, item in items.items()} == {
            id_: attributes["name"] for id_, attributes in console.STUDENTS.items()
        }
        assert client("dynamodb").describe_table(TableName="studentData")["Table"]["TableId"] == table["TableId"]
        assert client("s3").get_object(Bucket=console.BACKUPS, Key=console.BACKUP_KEY)["Body"].read()
        streams = client("logs").describe_log_streams(logGroupName="/aws/lambda/getStudentData")["logStreams"]
        assert [stream["logStreamName"] for stream in streams] == ["by-hand"]
        [api] = client("apigateway").get_rest_apis()["items"]
        assert api["id"] == next(id_ for address, id_ in before["found"].items() if "rest_api." in address)

        # Once more there is nothing to do.
        again = ops()
        assert again.exit_code == 0, again.output
        assert "no changes" in again.stdout

    def test_two_of_a_name_have_to_be_told_apart(self, ops: Ops, client: console.Client) -> None:
        gateway = client("apigateway")
        ids = [gateway.create_rest_api(name="student")["id"] for _ in range(2)]
        try:
            torn = ops()
            assert torn.exit_code == 1
            assert "say which with --id ADDRESS=ID" in torn.stderr
            assert all(id_ in torn.stderr for id_ in ids)
        finally:
            for id_ in ids:
                gateway.delete_rest_api(restApiId=id_)


class TestLostState:
    @pytest.fixture
    def settings(self, local: Local) -> Settings:
        return local.cloud.settings

    @pytest.fixture
    def stack(self, local: Local, tmp_path: Path) -> Iterator[Path]:
        """The tests' stack at another place, where there is no state of it."""
        stack = tmp_path / "cdktf.out" / "stacks" / "local"
        shutil.copytree(local.terraform.folder, stack, symlinks=True, ignore=shutil.ignore_patterns(".terraform"))
        yield stack
        shutil.rmtree(tmp_path / "cdktf.out")

    def test_all_of_a_stack_is_found_again(self, ops: Ops, port: int, stack: Path) -> None:
        document = json.loads(ops("--json").stdout)
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
