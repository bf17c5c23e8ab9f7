"""The preflight on the embedded AWS: each point passes in a prepared account and fails in a new one."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from infra.settings import ENVIRONMENTS, Settings, State, load
from ops import environment, state, synth
from ops import plan as plans
from ops.__main__ import app
from ops.exits import Exit
from ops.local import aws as emulated
from ops.preflight import command, record
from ops.preflight.account import Account
from ops.preflight.point import Point
from tests.conftest import Local, Stacks
from tests.local.bare import a_user, ask
from tests.unit.server import closed_address

REGION = "ap-southeast-1"
_ids = itertools.count(300_000_000_001)


@pytest.fixture
def new(bare_port: int, stacks: Stacks) -> Account:
    """A new account, in which nothing was done, and the local stack that is to be applied to it."""
    # MiniStack takes an access key of 12 digits for the root user's of that account.
    id_ = str(next(_ids))

    def client(service: str, region: str) -> Any:
        return emulated.client(service, bare_port, region, aws_access_key_id=id_)

    return Account(load(ENVIRONMENTS / "local.toml"), stacks.json("local"), id_, client, is_applied=False)


@pytest.fixture
def account(new: Account, bare_port: int) -> Account:
    """An account that is prepared as docs/first-deploy.md says."""
    emulated.prepare_account(bare_port, new.settings, aws_access_key_id=new.id)
    return new


@pytest.fixture
def quota(bare_port: int) -> Iterator[Callable[[str, str, int], None]]:
    """Sets a quota until the test ends."""
    changed = []

    def change(service: str, code: str, value: int) -> None:
        changed.append({"ServiceCode": service, "QuotaCode": code})
        ask(bare_port, "service-quota", changed[-1] | {"Value": value})

    yield change
    for each in changed:
        ask(bare_port, "service-quota", each)


def of(account: Account, name: str) -> Point:
    """The one point that a check finds."""
    [point] = command.check(name, account)
    return point


def with_vault(account: Account, **values: Any) -> Account:
    vault = account.settings.vault.model_copy(update=values)
    return replace(account, settings=account.settings.model_copy(update={"vault": vault}))


def with_resource(account: Account, kind: str, **values: Any) -> Account:
    """The account and a stack whose resources of a type have other values."""
    named = {name: {**found, **values} for name, found in account.stack["resource"][kind].items()}
    return replace(account, stack={**account.stack, "resource": {**account.stack["resource"], kind: named}})


def answering(account: Account, service: str, operation: str, answer: dict[str, Any], **wanted: Any) -> Account:
    """The account, where an operation answers otherwise; botocore checks the answer's shape."""

    def client(asked: str, region: str) -> Any:
        real = account.client(asked, region)
        if asked != service:
            return real
        stubbed = boto3.client(service, region_name=region)
        stubber = Stubber(stubbed)
        for _ in range(10):
            stubber.add_response(operation, answer, wanted or None)
        stubber.activate()
        return _Mixed(real, {operation: getattr(stubbed, operation)})

    return replace(account, client=client)


class _Mixed:
    def __init__(self, real: Any, operations: dict[str, Any]) -> None:
        self._real, self._operations = real, operations

    def __getattr__(self, name: str) -> Any:
        return self._operations.get(name) or getattr(self._real, name)


def test_in_a_prepared_account_every_point_is_good(account: Account) -> None:
    points = [point for name in command.CHECKS for point in command.check(name, account)]
    assert [point for point in points if not point.is_good] == []
    later = {point.name for point in points if point.state == "after apply"}
    assert later == {
        "stack",
        "address admin@studentapp.com",
        "address no-reply@studentapp.com",
        "alerts student-backup-alerts",
        "API log role",
    }
    assert {point.name for point in points} >= {f"Region {REGION}", "Region ap-northeast-1", "state", "names", "SES"}


def test_a_new_account_needs_preparation(new: Account) -> None:
    points = [point for name in command.CHECKS for point in command.check(name, new)]
    assert {point.name for point in points if not point.is_good} == {
        "SES",
        "Backup opt-in",
        "AWS Config",
        "service-linked role",
    }
    assert all(point.remedy for point in points if not point.is_good)


def test_a_region_that_is_not_enabled_is_found(account: Account) -> None:
    snapshots = account.settings.snapshots.model_copy(update={"destination_region": "ap-east-1"})
    mine = replace(account, settings=account.settings.model_copy(update={"snapshots": snapshots}))
    wrong = [point for point in command.check("Regions", mine) if not point.is_good]
    assert [(point.name, point.state) for point in wrong] == [("Region ap-east-1", "look")]
    assert wrong[0].remedy.startswith("aws account enable-region --region-name ap-east-1")
    account.client("account", "us-east-1").enable_region(RegionName="ap-east-1")
    assert all(point.is_good for point in command.check("Regions", mine))


def test_a_bucket_name_that_another_account_has_is_found(account: Account, bare_port: int) -> None:
    mine = with_resource(account, "aws_s3_bucket", bucket=f"taken-{account.id}", provider="aws")
    assert of(mine, "buckets").state == "ok"
    other = emulated.client("s3", bare_port, REGION, aws_access_key_id=str(next(_ids)))
    other.create_bucket(Bucket=f"taken-{account.id}", CreateBucketConfiguration={"LocationConstraint": REGION})
    [point, *_] = command.check("buckets", mine)
    assert (point.state, "belongs to another account" in point.found) == ("look", True)


def test_a_bucket_that_is_gone_is_found(account: Account) -> None:
    assert of(replace(account, is_applied=True), "buckets").state == "look"


def test_the_bucket_of_the_state_is_checked(account: Account) -> None:
    bucket = f"state-{account.id}"
    settings = account.settings.model_copy(update={"state": State(bucket=bucket)})
    mine = replace(account, settings=settings)
    point = of(mine, "state")
    assert (point.state, point.remedy) == ("look", "rollbook state bootstrap --env local")
    s3 = mine.aws("s3")
    for step in state.steps(s3, bucket, REGION, mine.id):
        step.make()
    assert of(mine, "state").state == "ok"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert "versioning" in of(mine, "state").found


def test_an_existing_resource_with_a_name_of_the_stack_is_found(account: Account) -> None:
    assert of(account, "names").state == "ok"
    account.aws("dynamodb").create_table(
        TableName="studentData",
        KeySchema=[{"AttributeName": "studentid", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "studentid", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    account.aws("sesv2").create_email_identity(EmailIdentity="admin@studentapp.com")
    again = replace(account)
    point = of(again, "names")
    assert (point.state, "studentData, admin@studentapp.com" in point.found) == ("look", True)
    assert "rollbook adopt --env local" in point.remedy
    assert of(replace(account, is_applied=True), "names").state == "ok"
    assert of(replace(account, is_applied=None), "names").state == "unknown"


def test_the_stack_is_applied_not_applied_or_unknown(account: Account) -> None:
    states = [of(replace(account, is_applied=known), "stack").state for known in (True, False, None)]
    assert states == ["ok", "after apply", "unknown"]


def test_an_unverified_address_is_found(account: Account, bare_port: int) -> None:
    applied = replace(account, is_applied=True)
    assert {point.state for point in command.check("addresses", applied)} == {"look"}
    for address in ("admin@studentapp.com", "no-reply@studentapp.com"):
        account.aws("sesv2").create_email_identity(EmailIdentity=address)
    for point in command.check("addresses", applied):
        assert (point.state, "not verified" in point.found) == ("look", True)
    emulated.open_links(bare_port, REGION, account.id)
    assert {point.state for point in command.check("addresses", applied)} == {"ok"}


def test_the_sandbox_is_found_if_mail_goes_to_unverified_addresses(new: Account) -> None:
    sandbox, quota = command.check("SES", new)
    assert (sandbox.state, "[signups]" in sandbox.found) == ("look", True)
    assert (quota.state, "200 of 200 mails a day" in quota.found) == ("ok", True)
    signups = new.settings.signups.model_copy(update={"enabled": False})
    without = replace(new, settings=new.settings.model_copy(update={"signups": signups}))
    assert [point.state for point in command.check("SES", without)] == ["ok", "ok"]


def test_a_daily_quota_that_the_schedules_exceed_is_found(new: Account) -> None:
    backups = new.settings.backups.model_copy(update={"schedule_expression": "rate(5 minutes)"})
    often = replace(new, settings=new.settings.model_copy(update={"backups": backups}))
    _, quota = command.check("SES", often)
    assert (quota.name, quota.state) == ("SES quota", "look")


def test_disabled_sending_is_found(account: Account) -> None:
    answer = {
        "SendingEnabled": False,
        "EnforcementStatus": "SHUTDOWN",
        "ProductionAccessEnabled": True,
        "SendQuota": {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 0.0},
    }
    point, _ = command.check("SES", answering(account, "sesv2", "get_account", answer))
    assert (point.state, "SHUTDOWN" in point.found) == ("look", True)


def test_an_unconfirmed_subscription_is_found(account: Account, bare_port: int) -> None:
    applied = replace(account, is_applied=True)
    assert of(applied, "alerts").state == "look"
    topic = account.aws("sns").create_topic(Name="student-backup-alerts")["TopicArn"]
    assert "admin@studentapp.com is not subscribed" in of(applied, "alerts").found
    account.aws("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="former@studentapp.com")
    emulated.open_links(bare_port, REGION, account.id)
    assert "admin@studentapp.com is not subscribed" in of(applied, "alerts").found
    account.aws("sns").subscribe(TopicArn=topic, Protocol="email", Endpoint="admin@studentapp.com")
    point = of(applied, "alerts")
    assert (point.state, "admin@studentapp.com did not confirm" in point.found) == ("look", True)
    emulated.open_links(bare_port, REGION, account.id)
    assert of(applied, "alerts").state == "ok"


def test_the_role_of_api_gateways_logs_is_one_for_the_account(account: Account) -> None:
    def set_to(role: str) -> None:
        patch = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": f"arn:aws:iam::{account.id}:role/{role}"}]
        account.aws("apigateway").update_account(patchOperations=patch)

    elsewhere = replace(
        account, stack={**account.stack, "resource": {**account.stack["resource"], "aws_api_gateway_account": {}}}
    )
    assert of(elsewhere, "API log role").state == "look"
    set_to("another-stacks")
    assert of(account, "API log role").remedy == "set api.manage_account_log_role = false"
    assert of(elsewhere, "API log role").state == "ok"
    set_to("student-api-log")
    assert of(account, "API log role").state == "ok"


def test_aws_backups_opt_ins_are_those_that_the_rules_need(account: Account) -> None:
    backup = account.aws("backup")
    assert of(account, "Backup opt-in").state == "ok"
    backup.update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    point = of(account, "Backup opt-in")
    assert "advanced features for DynamoDB are off" in point.found
    assert "--resource-type-management-preference DynamoDB=true" in point.remedy
    plain = [rule.model_copy(update={"copies": [], "cold_storage_after_days": None}) for rule in _rules(account)]
    assert of(with_vault(account, rules=plain), "Backup opt-in").state == "ok"
    backup.update_region_settings(ResourceTypeOptInPreference={"DynamoDB": False})
    assert "DynamoDB is off" in of(with_vault(account, rules=plain), "Backup opt-in").found


def _rules(account: Account) -> Any:
    return account.settings.vault.rules


def test_region_opt_in_is_the_regions_list_no_more_and_no_fewer(account: Account) -> None:
    there = account.aws("backup").describe_region_settings()["ResourceTypeOptInPreference"]
    assert of(with_vault(account, region_opt_in=there), "Backup opt-in").state == "ok"
    more = of(with_vault(account, region_opt_in=there | {"DSQL": True}), "Backup opt-in")
    assert (more.state, "the Region has no DSQL" in more.found) == ("look", True)
    fewer = of(with_vault(account, region_opt_in={"DynamoDB": True}), "Backup opt-in")
    assert (fewer.state, "the settings leave out Aurora" in fewer.found) == ("look", True)
    off = of(with_vault(account, region_opt_in=there | {"DynamoDB": False}), "Backup opt-in")
    assert off.state == "look"


def test_config_that_does_not_record_is_found(new: Account, bare_port: int) -> None:
    assert "there is no recorder" in of(new, "AWS Config").found
    emulated.prepare_account(bare_port, new.settings, aws_access_key_id=new.id)
    assert of(new, "AWS Config").state == "ok"
    new.aws("config").stop_configuration_recorder(ConfigurationRecorderName="default")
    assert "default is stopped" in of(new, "AWS Config").found
    assert command.check("AWS Config", with_vault(new, audit_manager=False)) == []


def test_the_reports_role_that_is_missing_is_found(new: Account) -> None:
    point = of(new, "service-linked role")
    assert point.remedy == "aws iam create-service-linked-role --aws-service-name reports.backup.amazonaws.com"
    new.aws("iam").create_service_linked_role(AWSServiceName="reports.backup.amazonaws.com")
    assert of(new, "service-linked role").state == "ok"


def test_lambdas_concurrency_in_a_new_account_is_found(account: Account, quota: Callable[..., None]) -> None:
    reserving = with_resource(account, "aws_lambda_function", reserved_concurrent_executions=1)
    assert of(reserving, "Lambda concurrency").state == "ok"
    quota("lambda", "L-B99A9384", 10)
    assert "the stack has 14 functions: they would be throttled" in of(account, "Lambda concurrency").found
    point = of(reserving, "Lambda concurrency")
    assert (point.state, "so the apply fails" in point.found) == ("look", True)
    assert "--quota-code L-B99A9384" in point.remedy


def test_the_sixth_trail_of_a_region_is_found(account: Account) -> None:
    bucket = f"trails-{account.id}"
    account.aws("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    for number in range(4):
        account.aws("cloudtrail").create_trail(Name=f"trail-{number}", S3BucketName=bucket)
    assert of(account, "trails").state == "ok"
    account.aws("cloudtrail").create_trail(Name="trail-5", S3BucketName=bucket)
    assert of(account, "trails").found == "6 of 5 with this stack"


def test_iam_roles_beyond_the_quota_are_found(account: Account) -> None:
    assert of(account, "quota: IAM roles").state == "ok"
    point = of(answering(account, "iam", "get_account_summary", {"SummaryMap": {"RolesQuota": 5}}), "quota: IAM roles")
    assert (point.state, "--quota-code L-FE177D64" in point.remedy) == ("look", True)


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("apigateway", "L-AA0FF27B"),
        ("cloudfront", "L-24B04930"),
        ("dynamodb", "L-F98FE922"),
        ("events", "L-244521F2"),
        ("s3", "L-DC2B2D3D"),
    ],
)
def test_a_quota_that_the_stack_exceeds_is_found(
    account: Account, quota: Callable[..., None], service: str, code: str
) -> None:
    quota(service, code, 0)
    points = command.check("quotas", account)
    [wrong] = [point for point in points if point.state == "look"]
    assert f"--service-code {service} --quota-code {code}" in wrong.remedy
    assert len(points) == 5


def test_a_point_that_may_not_be_read_is_unknown(account: Account, bare_port: int) -> None:
    def root(service: str) -> Any:
        return account.aws(service)

    _, keys = a_user(root)

    def client(service: str, region: str) -> Any:
        return emulated.client(service, bare_port, region, **keys)

    stranger = replace(account, client=client)
    found = {name: command.check(name, stranger) for name in command.CHECKS}
    # A bucket's name that is free is free for all; the state is a file here; the stack is asked of the state.
    readable = {name for name, points in found.items() if any(point.is_good for point in points)}
    assert readable == {"buckets", "stack", "state"}
    assert {point.state for points in found.values() for point in points if not point.is_good} == {"unknown"}
    point = of(stranger, "trails")
    assert (point.state, "cloudtrail:DescribeTrails" in point.found) == ("unknown", True)


@pytest.fixture
def ours(account: Account, stacks: Stacks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    """The account as the commands find it."""
    monkeypatch.setattr(environment, "client", lambda _, service, region: account.client(service, region))
    monkeypatch.setattr(synth, "synthesize", lambda _: None)
    monkeypatch.setattr(environment, "stack_of", lambda settings: stacks.path(settings.name))
    monkeypatch.setattr(command, "is_applied", lambda _: False)
    monkeypatch.setattr(record, "folder", lambda: tmp_path / "preflight")
    return account


def test_the_command_keeps_its_last_run_and_a_plan_warns_about_it(
    ours: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    def said_by_plan() -> str:
        plans._note_preflight(ours.settings)
        return capsys.readouterr().err

    assert "local had no preflight on this machine" in said_by_plan()
    done = CliRunner().invoke(app, ["preflight", "--json"])
    run = json.loads(done.stdout)
    assert (done.exit_code, run["isGood"], run["account"]) == (0, True, ours.id)
    assert run == json.loads((record.folder() / "local.json").read_text())
    assert said_by_plan() == ""

    ours.aws("backup").update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    done = CliRunner().invoke(app, ["preflight", "--json"])
    assert done.exit_code == Exit.FINDINGS
    assert [each["name"] for each in json.loads(done.stdout)["points"] if each["state"] == "look"] == ["Backup opt-in"]
    assert "found something to look at" in said_by_plan()
    record.keep(json.loads(done.stdout) | {"account": "999999999999"})
    assert "was in the account 999999999999" in said_by_plan()


def test_no_text_is_cut_at_80_columns(
    ours: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    ours.aws("backup").update_region_settings(ResourceTypeManagementPreference={"DynamoDB": False})
    run = command.of(ours.settings)
    capsys.readouterr()
    command.show(run)
    whole = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert all(point["found"] in whole and point["remedy"] in whole for point in run["points"])
    assert "→ aws backup update-region-settings --region ap-southeast-1" in whole
    assert "rules of [vault] need them" in whole, "the name of a table of settings is not markup"
    assert "1 points to look at in account" in whole


def test_missing_credentials_are_the_only_message(ours: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(settings: Settings, service: str, region: str) -> Any:
        return boto3.client(service, region_name=region, endpoint_url=closed_address())

    monkeypatch.setattr(environment, "client", client)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = CliRunner().invoke(app, ["preflight"])
    assert done.exit_code == 1
    assert "AWS accepts no credentials" in done.stderr


def test_on_the_applied_local_stack_every_point_is_ok(
    local: Local, stacks: Stacks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "client", lambda _, service, region: emulated.client(service, local.port, region))
    monkeypatch.setattr(synth, "synthesize", lambda _: None)
    monkeypatch.setattr(environment, "stack_of", lambda settings: stacks.path(settings.name))
    monkeypatch.setattr(state, "ROOT", local.folder)
    monkeypatch.setattr(record, "folder", lambda: tmp_path)
    done = CliRunner().invoke(app, ["preflight", "--env", "local", "--json"])
    wrong = [point for point in json.loads(done.stdout)["points"] if point["state"] != "ok"]
    assert (done.exit_code, wrong) == (0, [])
