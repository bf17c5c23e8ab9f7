"""The workflows' roles on the embedded AWS: who may assume them, what they can do, and what they are refused."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.settings import State
from infra.settings.github import GitHub
from ops.local import aws as emulated
from ops.local.stack import terraform_in
from ops.terraform import Terraform
from tests.conftest import Local, synthesize_settings

pytestmark = pytest.mark.slow

REPOSITORY, STATE = "our-school/rollbook", "state-of-the-school"
PULL, MAIN, APPROVED = (
    f"repo:{REPOSITORY}:{what}" for what in ("pull_request", "ref:refs/heads/main", "environment:local")
)
Client = Callable[[str], Any]


@pytest.fixture(scope="module")
def roles(local: Local, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The roles, applied beside the tests' stack."""
    settings = local.cloud.settings.model_copy(
        update={"state": State(bucket=STATE), "github": GitHub(repository=REPOSITORY)}
    )
    folder = tmp_path_factory.mktemp("github")
    stack = synthesize_settings(settings, folder).path("local-github")
    document = json.loads((stack / "cdk.tf.json").read_text())
    document["terraform"]["backend"] = {"local": {"path": "here.tfstate"}}
    (stack / "cdk.tf.json").write_text(json.dumps(document))
    terraform = terraform_in(stack, local.port)
    terraform.init()
    terraform.apply()
    yield {name.removesuffix("_role_arn"): arn for name, arn in terraform.outputs().items()}
    terraform._run("destroy", "-auto-approve", "-input=false", "-no-color")
    shutil.rmtree(folder)


def token(subject: str, audience: str = "sts.amazonaws.com") -> str:
    """A token with GitHub's claims; the embedded AWS reads them and checks no signature."""
    parts = [
        {"alg": "none"},
        {"iss": "https://token.actions.githubusercontent.com", "aud": audience, "sub": subject},
    ]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "none"])


def assume(local: Local, role: str, subject: str, audience: str = "sts.amazonaws.com") -> dict[str, Any]:
    answer = local.cloud.client("sts").assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="workflow", WebIdentityToken=token(subject, audience)
    )
    return dict(answer["Credentials"])


def clients(local: Local, role: str, subject: str) -> Client:
    found = assume(local, role, subject)
    keys = {
        "aws_access_key_id": found["AccessKeyId"],
        "aws_secret_access_key": found["SecretAccessKey"],
        "aws_session_token": found["SessionToken"],
    }
    return lambda service: emulated.client(service, local.port, local.cloud.settings.region, **keys)


REFUSALS = {"AccessDenied", "AccessDeniedException", "403"}


def refused(call: Callable[..., Any], **parameters: Any) -> bool:
    """Whether a call is refused; any other error is the test's."""
    try:
        call(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] not in REFUSALS:
            raise
        return True
    return False


@pytest.mark.parametrize(
    ("subject", "audience", "may"),
    [
        (PULL, "sts.amazonaws.com", {"plan"}),
        (MAIN, "sts.amazonaws.com", {"plan"}),
        (APPROVED, "sts.amazonaws.com", {"deploy"}),
        (f"repo:{REPOSITORY}:ref:refs/heads/other", "sts.amazonaws.com", set()),
        (f"repo:{REPOSITORY}:environment:elsewhere", "sts.amazonaws.com", set()),
        ("repo:somebody/rollbook:pull_request", "sts.amazonaws.com", set()),
        (PULL, "https://github.com/our-school", set()),
    ],
)
def test_who_may_assume_which_role(
    local: Local, roles: dict[str, str], subject: str, audience: str, may: set[str]
) -> None:
    assumed = {
        name
        for name, arn in roles.items()
        if not refused(assume, local=local, role=arn, subject=subject, audience=audience)
    }
    assert assumed == may


def in_workflow(local: Local, folder: Path, role: str, subject: str) -> tuple[Terraform, Path]:
    """The tests' stack in a folder of its own, on their state, with a role's credentials."""
    found = assume(local, role, subject)
    shutil.copytree(local.terraform.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".terraform"))
    path = folder / "cdk.tf.json"
    stack = json.loads(path.read_text())
    [state] = local.folder.rglob("terraform.local.tfstate")
    stack["terraform"]["backend"]["local"]["path"] = str(state)
    for provider in stack["provider"]["aws"]:
        provider |= {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
        }
    path.write_text(json.dumps(stack))
    terraform = terraform_in(folder, local.port)
    terraform.init()
    return terraform, path


def test_a_pull_request_plans_and_reads_no_record(local: Local, roles: dict[str, str], tmp_path: Path) -> None:
    terraform, _ = in_workflow(local, tmp_path / "stack", roles["plan"], PULL)
    assert terraform.has_changes() is False
    client, settings = clients(local, roles["plan"], PULL), local.cloud.settings
    bucket = settings.backups.bucket_name
    assert refused(client("dynamodb").scan, TableName="studentData")
    assert refused(client("dynamodb").put_item, TableName="studentData", Item={"studentid": {"S": "SV1"}})
    assert refused(client("s3").get_object, Bucket=bucket, Key="students-backup-20250708T0700.json")
    assert refused(client("lambda").invoke, FunctionName=settings.backups.function_name, Payload=b"{}")
    queue = client("sqs").get_queue_url(QueueName="student-backup-dead-letters")["QueueUrl"]
    assert refused(client("sqs").receive_message, QueueUrl=queue)
    group = "/aws/lambda/getStudentData"
    assert refused(client("logs").put_retention_policy, logGroupName=group, retentionInDays=1)
    assert refused(client("iam").create_role, RoleName="Mine", AssumeRolePolicyDocument="{}")


def test_a_plan_reads_the_state_and_holds_only_its_lock(local: Local, roles: dict[str, str]) -> None:
    owner = local.cloud.client("s3")
    owner.create_bucket(Bucket=STATE, CreateBucketConfiguration={"LocationConstraint": local.cloud.settings.region})
    state, lock = "local/terraform.tfstate", "local/terraform.tfstate.tflock"
    try:
        owner.put_object(Bucket=STATE, Key=state, Body=b"{}")
        plan, deploy = clients(local, roles["plan"], PULL)("s3"), clients(local, roles["deploy"], APPROVED)("s3")
        assert plan.get_object(Bucket=STATE, Key=state)["Body"].read() == b"{}"
        assert refused(plan.put_object, Bucket=STATE, Key=state, Body=b"")
        assert refused(plan.get_object, Bucket=STATE, Key="production/terraform.tfstate")
        for client in (plan, deploy):
            assert not refused(client.put_object, Bucket=STATE, Key=lock, Body=b"")
            assert not refused(client.delete_object, Bucket=STATE, Key=lock)
        assert not refused(deploy.put_object, Bucket=STATE, Key=state, Body=b"{}")
        assert refused(deploy.delete_object, Bucket=STATE, Key=state)
    finally:
        owner.delete_object(Bucket=STATE, Key=state)
        owner.delete_bucket(Bucket=STATE)


def test_an_approved_deploy_changes_the_stack_and_reads_no_record(
    local: Local, roles: dict[str, str], tmp_path: Path
) -> None:
    terraform, path = in_workflow(local, tmp_path / "stack", roles["deploy"], APPROVED)
    stack = path.read_text()
    changed = json.loads(stack)
    for group in changed["resource"]["aws_cloudwatch_log_group"].values():
        if group["name"] == "/aws/lambda/getStudentData":
            group["retention_in_days"] = 60
    for function in changed["resource"]["aws_lambda_function"].values():
        if function["function_name"] == "getStudentData":
            function["timeout"] += 1
    for role in changed["resource"]["aws_iam_role_policy"].values():
        if role["name"] == "ScanRecords" and "students_get" in role["role"]:
            role["policy"] = role["policy"].replace("ScanRecords", "ScanAllRecords")
    path.write_text(json.dumps(changed))
    try:
        assert terraform.apply() == 3
    finally:
        path.write_text(stack)
        assert terraform.apply() == 3
    assert local.terraform.has_changes() is False
    client, settings = clients(local, roles["deploy"], APPROVED), local.cloud.settings
    assert refused(client("dynamodb").scan, TableName="studentData")
    assert refused(client("s3").get_object, Bucket=settings.backups.bucket_name, Key="any")
    assert refused(client("s3").delete_object, Bucket=settings.backups.bucket_name, Key="any")
    assert refused(client("lambda").invoke, FunctionName=settings.backups.function_name, Payload=b"{}")
    assert refused(client("iam").create_role, RoleName="Mine", AssumeRolePolicyDocument="{}")
    assert refused(client("iam").put_role_policy, RoleName="RollbookDeploy", PolicyName="More", PolicyDocument="{}")
    assert refused(client("iam").create_user, UserName="mine")
    assert refused(client("sesv2").send_email, FromEmailAddress=settings.mail.sender, Content={})
