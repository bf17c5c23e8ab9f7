"""A team's day on the embedded AWS: the workshop, made by hand, is taken over into S3's state and kept as code.

One school has an account of its own. The tests run the commands that people type.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from infra.settings import load
from ops import adopt, deploy, environment, plan, state, synth
from ops.__main__ import app
from ops.exits import Exit
from ops.local import aws, stack
from ops.terraform import Terraform
from tests.conftest import Local, synthesize_settings
from tests.local import console
from tests.local.aws import wait_for

pytestmark = pytest.mark.slow

ENV, STATE = "by-hand", "state-by-hand"
# MiniStack takes an access key of 12 digits for the root user's of that account.
ACCOUNT = "210987654321"


class School:
    """The school's settings and stack, as its people have them.

    Arguments:
        client: returns boto3's client of a service in the school's account.
        folder: of the project: stacks and exceptions.
        port: of the embedded AWS.
    """

    def __init__(self, client: console.Client, folder: Path, port: int) -> None:
        self._port = port
        self.client = client
        self.folder = folder
        self.stack = folder / "cdktf.out" / "stacks" / ENV
        self.exceptions = folder / "exceptions.toml"

    def ops(self, command: str, *arguments: str) -> Result:
        return CliRunner().invoke(app, [command, "--env", ENV, *arguments])

    def allow(self, rule: str, address: str, expires: date) -> None:
        with self.exceptions.open("a") as file:
            file.write(f'[[exception]]\nrule = "{rule}"\naddress = "{address}"\nreason = "meant in this test"\n')
            file.write(f'approved_by = "An"\nexpires = {expires}\n')

    def terraform(self) -> Terraform:
        """Terraform in the stack, past the commands."""
        return stack.terraform_in(self.stack, self._port)

    @contextmanager
    def edited(self, edit: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """The stack as an edit of the constructs would synthesize it."""
        path = self.stack / "cdk.tf.json"
        kept = path.read_text()
        document = json.loads(kept)
        edit(document["resource"])
        path.write_text(json.dumps(document))
        try:
            yield
        finally:
            path.write_text(kept)


@pytest.fixture(scope="module")
def school(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    settings = load(Path(__file__).with_name(f"{ENV}.toml"))

    def client(_: Any, service: str, region: str) -> Any:
        return aws.client(service, local.port, region, aws_access_key_id=ACCOUNT)

    folder = tmp_path_factory.mktemp("school")
    school = School(lambda service: client(None, service, console.REGION), folder, local.port)
    path = synthesize_settings(settings, folder / "cdktf.out").path(ENV) / "cdk.tf.json"
    here = path.read_text().replace('"access_key": "test"', f'"access_key": "{ACCOUNT}"')
    path.write_text(here.replace("localhost:4566", f"localhost:{local.port}"))
    with pytest.MonkeyPatch.context() as patch:
        for module in (adopt, deploy, plan):
            patch.setattr(module, "settings_of", lambda _: settings)
            patch.setattr(module, "stack_of", lambda _: school.stack)
        patch.setattr(state, "settings_of", lambda _: settings)
        patch.setattr(state, "load_all", lambda: [settings])
        for module in (environment, state):
            patch.setattr(module, "client", client)
        patch.setattr(environment, "_port", lambda: local.port)
        patch.setattr(synth, "synthesize", lambda _: None)
        patch.setattr(plan, "EXCEPTIONS", school.exceptions)
        yield school
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def by_hand(school: School) -> dict[str, Any]:
    """What `rollbook adopt` shows once the workshop was made by hand, and the table's id."""
    console.build(school.client, ACCOUNT)
    made = CliRunner().invoke(app, ["state", "bootstrap", "--env", ENV, "--yes"])
    assert made.exit_code == 0, made.output
    # The guard stops it, so that nothing is applied.
    shown = school.ops("adopt", "--apply", "--yes", "--json")
    assert shown.exit_code == Exit.REFUSED, shown.output
    table = school.client("dynamodb").describe_table(TableName="studentData")["Table"]
    return {**json.loads(shown.stdout), "table": table["TableId"]}


@pytest.fixture(scope="module")
def taken_over(school: School, by_hand: dict[str, Any]) -> dict[str, Any]:
    """What `rollbook adopt --env ENV --apply` says, once what the guard stops has its exceptions."""
    for finding in by_hand["plan"]["findings"]:
        school.allow(finding["rule"], finding["address"], date.max)
    done = school.ops("adopt", "--apply", "--yes", "--json")
    assert done.exit_code == 0, done.output
    school.exceptions.unlink()
    return dict(json.loads(done.stdout))


def shown() -> dict[str, Any]:
    [row] = json.loads(CliRunner().invoke(app, ["state", "show", "--json"]).stdout)
    return dict(row)


def test_adopt_finds_resources_made_by_hand_and_shows_their_changes(by_hand: dict[str, Any]) -> None:
    assert by_hand["isApplied"] is False
    assert {address.partition(".")[0] for address in by_hand["found"]} >= {
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
    changes = {change["address"]: change for change in by_hand["plan"]["changes"]}
    assert not {change["action"] for change in changes.values()} & {"destroy", "replace", "forget"}
    [records] = [change for address, change in changes.items() if address.startswith("aws_dynamodb_table.records")]
    assert "deletion_protection_enabled: false → true" in records["lines"]
    assert "point_in_time_recovery[0].enabled: false → true" in records["lines"]
    # Older logs and older backups would be deleted, so the plan needs an exception.
    assert {finding["rule"] for finding in by_hand["plan"]["findings"]} == {"keep-retention"}


def test_adopt_lists_what_stays_unmanaged(by_hand: dict[str, Any]) -> None:
    assert {left["what"] for left in by_hand["leftovers"]} == {
        "path /hello of the API",
        "permission console-backup-POST of BackupDynamoDBAndSendEmail",
        "permission console-hello-GET of getStudentData",
        "permission console-students-GET of getStudentData",
        "permission console-students-POST of insertStudentData",
        "policy ByHand of the role Amazon_EventBridge_Scheduler_LAMBDA_7e5e967abf",
        "policy ByHand of the role DynamoDBBackupRoleStudent",
        "role getStudentData-role-x1y2z3, now used by getStudentData",
        "role insertStudentData-role-a4b5c6, now used by insertStudentData",
        "schedule TryTheBackup in the group default",
    }


def test_adopted_resources_keep_their_data(school: School, by_hand: dict[str, Any], taken_over: dict[str, Any]) -> None:
    assert taken_over["isApplied"] is True
    assert taken_over["plan"]["changes"] == []
    dynamodb = school.client("dynamodb")
    pages = dynamodb.get_paginator("scan").paginate(TableName="studentData")
    names = {item["studentid"]["S"]: item["name"]["S"] for page in pages for item in page["Items"]}
    assert names == {id_: attributes["name"] for id_, attributes in console.STUDENTS.items()}
    assert dynamodb.describe_table(TableName="studentData")["Table"]["TableId"] == by_hand["table"]
    assert school.client("s3").get_object(Bucket=console.BACKUPS, Key=console.BACKUP_KEY)["Body"].read()
    streams = school.client("logs").describe_log_streams(logGroupName="/aws/lambda/getStudentData")["logStreams"]
    assert "by-hand" in [stream["logStreamName"] for stream in streams]
    [api] = school.client("apigateway").get_rest_apis()["items"]
    assert [api["id"]] == [id_ for address, id_ in by_hand["found"].items() if "_rest_api." in address]
    again = school.ops("adopt")
    assert again.exit_code == 0, again.output
    assert "no changes" in again.stdout


def test_two_resources_with_one_name_need_an_id(school: School, taken_over: dict[str, Any]) -> None:
    gateway = school.client("apigateway")
    second = gateway.create_rest_api(name="student")["id"]
    try:
        torn = school.ops("adopt")
        assert torn.exit_code == 1
        assert "2 match" in torn.stderr
        assert second in torn.stderr
        assert "name one with --id ADDRESS=ID" in torn.stderr
    finally:
        gateway.delete_rest_api(restApiId=second)


def test_the_lock_prevents_two_applies(
    school: School, taken_over: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "cdktf.out" / "stacks" / ENV
    shutil.copytree(school.stack, second, symlinks=True, ignore=shutil.ignore_patterns(".terraform"))
    monkeypatch.setattr(plan, "stack_of", lambda _: second)
    seen = school.ops("plan")
    assert seen.exit_code == 0, seen.output
    assert shown()["resources"] > len(taken_over["found"])

    # The first one applies, and is asked; until the answer the lock is theirs.
    first = school.terraform()
    with school.edited(_keep_logs_for(60)):
        first.init()
        applying = subprocess.Popen(
            [first._program, "apply", "-no-color"],
            cwd=first.folder,
            env=first._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        holder = wait_for(lambda: shown()["lock"])
        refused = school.ops("plan")
        said, _ = applying.communicate("yes\n")
    try:
        assert applying.returncode == 0, said
        assert "apply" in holder
        assert refused.exit_code == 1
        assert "Error acquiring the state lock" in refused.stderr
        assert shown()["lock"] is None
        # Nothing was lost: the second one sees what the first one did.
        found = json.loads(school.ops("plan", "--json").stdout)
        [line] = {line.rpartition(" ")[0] for change in found["changes"] for line in change["lines"]}
        assert line == "retention_in_days: 60 →"
    finally:
        first.apply()


def _keep_logs_for(days: int) -> Callable[[dict[str, Any]], None]:
    def edit(resources: dict[str, Any]) -> None:
        for group in resources["aws_cloudwatch_log_group"].values():
            group["retention_in_days"] = days

    return edit


def test_only_the_reviewed_plan_is_deployed(school: School, taken_over: dict[str, Any], tmp_path: Path) -> None:
    try:
        with school.edited(_keep_logs_for(60)):
            planned = school.ops("plan", "--out", str(tmp_path))
            assert planned.exit_code == Exit.FINDINGS, planned.output
            # The API key is in the state, so no plan's file is written where an artifact is made of it.
            assert list(tmp_path.rglob("plan.bin")) == []
            done = school.ops("deploy", "--reviewed", str(tmp_path))
            assert done.exit_code == 0, done.output
        # Once more, and it is neither the same state nor the same change.
        stale = school.ops("deploy", "--reviewed", str(tmp_path))
        assert stale.exit_code == Exit.MOVED
        assert "the state moved from serial" in stale.stderr
        assert "the plan differs from the reviewed one" in stale.stderr
        # Back; the guard has to be told, as logs are kept shorter by it.
        back = tmp_path / "back"
        assert school.ops("plan", "--out", str(back)).exit_code == Exit.FINDINGS
        assert school.ops("deploy", "--reviewed", str(back)).exit_code == Exit.REFUSED
        school.allow("keep-retention", "aws_cloudwatch_log_group.*", datetime.now(UTC).date())
        done = school.ops("deploy", "--reviewed", str(back))
        assert done.exit_code == 0, done.output
    except BaseException:
        school.terraform().apply()
        raise
    finally:
        school.exceptions.unlink(missing_ok=True)


def test_drift_is_shown_and_the_guard_stops_a_table_from_being_deleted(
    school: School, taken_over: dict[str, Any]
) -> None:
    logs, group = school.client("logs"), "/aws/lambda/getStudentData"
    assert school.ops("drift").exit_code == 0
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    try:
        drifted = school.ops("drift")
    finally:
        logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    assert drifted.exit_code == Exit.FINDINGS
    assert "retention_in_days: 30 → 1" in drifted.stdout

    def rename(resources: dict[str, Any]) -> None:
        [history] = [name for name in resources["aws_dynamodb_table"] if name.startswith("store_history")]
        resources["aws_dynamodb_table"][history]["name"] += "-elsewhere"

    today = datetime.now(UTC).date()
    with school.edited(rename):
        stopped = school.ops("guard")
        assert stopped.exit_code == Exit.REFUSED
        assert "keep-data" in stopped.stdout
        assert "replaces" in stopped.stdout
        outcomes = []
        for expires in (today, today - timedelta(days=1)):
            school.allow("keep-data", "aws_dynamodb_table.store_history_*", expires)
            allowed = school.ops("guard")
            outcomes.append((allowed.exit_code, "its exception expired on" in " ".join(allowed.stdout.split())))
            school.exceptions.unlink()
    assert outcomes == [(0, False), (Exit.REFUSED, True)]
