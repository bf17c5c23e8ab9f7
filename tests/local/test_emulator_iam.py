"""IAM on a bare emulator: condition keys, resources of calls, and changes that take effect late."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.local.aws import open_links
from tests.local.bare import (
    ACCOUNT,
    REGION,
    Clients,
    a_bucket,
    a_function,
    a_name,
    a_table,
    a_user,
    allowed,
    ask,
    assumed,
    create_function,
    eventually,
    of_role,
    refused,
)


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


@pytest.fixture
def slow_iam(bare_port: int) -> Iterator[float]:
    """Let changes of IAM take effect two and a half seconds later."""
    yield ask(bare_port, "iam-propagation", {"Seconds": 2.5})["Seconds"]
    ask(bare_port, "iam-propagation", {"Seconds": 0})


def may_list_tables(client: Any) -> bool:
    try:
        client.list_tables()
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


def test_a_changed_policy_takes_effect_later_when_iam_is_slow(aws: Clients, slow_iam: float) -> None:
    user, keys = a_user(aws)
    dynamodb, iam = aws("dynamodb", **keys), aws("iam")
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed("dynamodb:ListTables")]})
    began = time.monotonic()
    iam.put_user_policy(UserName=user, PolicyName="p", PolicyDocument=document)
    assert iam.get_user_policy(UserName=user, PolicyName="p"), "IAM itself knows it at once"
    assert not may_list_tables(dynamodb)
    assert eventually(lambda: may_list_tables(dynamodb))
    assert time.monotonic() - began >= slow_iam
    iam.delete_user_policy(UserName=user, PolicyName="p")
    assert may_list_tables(dynamodb)
    assert eventually(lambda: not may_list_tables(dynamodb))


def test_a_new_role_cannot_be_assumed_nor_given_to_a_function_at_once_when_iam_is_slow(
    aws: Clients, slow_iam: float
) -> None:
    _, keys = a_user(aws, allowed("sts:AssumeRole"))
    time.sleep(slow_iam)
    name = a_name()
    trust = [
        {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"},
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": trust})
    arn = aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        create_function(aws, arn, "def handler(event, context): ...\n")
    with pytest.raises(ClientError, match="AccessDenied"):
        aws("sts", **keys).assume_role(RoleArn=arn, RoleSessionName="chi")
    time.sleep(slow_iam)
    aws("sts", **keys).assume_role(RoleArn=arn, RoleSessionName="chi")
    create_function(aws, arn, "def handler(event, context): ...\n")


def test_a_function_is_refused_a_role_that_does_not_trust_lambda(aws: Clients) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role_arn = aws("iam").create_role(RoleName=a_name(), AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for arn in (role_arn, f"{role_arn}-not-there"):
        with pytest.raises(ClientError, match=r"InvalidParameterValueException.*cannot be assumed by Lambda"):
            create_function(aws, arn, "def handler(event, context): ...\n")
    function = a_function(aws, "def handler(event, context): ...\n")
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        aws("lambda").update_function_configuration(FunctionName=function, Role=role_arn)


def test_the_principal_of_a_session_is_its_role(aws: Clients) -> None:
    s3, bucket = aws("s3"), a_bucket(aws)
    mine, other = of_role(aws, allowed("s3:PutObject")), of_role(aws, allowed("s3:PutObject"))
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": mine}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    for arn, is_refused in ((mine, False), (other, True)):
        assert refused(aws("s3", **assumed(aws, arn)).put_object, Bucket=bucket, Key="k", Body=b"") is is_refused


def test_a_mail_is_about_its_sender(aws: Clients) -> None:
    ses = aws("sesv2")
    for sender in ("a@school.example", "b@school.example"):
        ses.create_email_identity(EmailIdentity=sender)
    ses.put_account_details(MailType="TRANSACTIONAL", WebsiteURL="https://school.example", ProductionAccessEnabled=True)
    open_links(aws.port, REGION)
    mail = {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}
    to = {"Destination": {"ToAddresses": ["c@school.example"]}, "Content": mail}
    identity = f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/a@school.example"
    of_a = {"Condition": {"StringEquals": {"ses:FromAddress": "a@school.example"}}}
    for statement in (allowed("ses:SendEmail", identity), allowed("ses:SendEmail") | of_a):
        _, keys = a_user(aws, statement)
        mailer = aws("sesv2", **keys)
        assert not refused(mailer.send_email, FromEmailAddress="a@school.example", **to)
        assert refused(mailer.send_email, FromEmailAddress="b@school.example", **to)


def test_a_policy_for_one_resource_is_for_that_one(aws: Clients) -> None:
    table, other = a_table(aws), a_table(aws)
    scheduler, backup = aws("scheduler"), aws("backup")
    group, vault = a_name(), a_name()
    scheduler.create_schedule_group(Name=group)
    backup.create_backup_vault(BackupVaultName=vault)
    plans = [
        backup.create_backup_plan(
            BackupPlan={"BackupPlanName": a_name(), "Rules": [{"RuleName": "r", "TargetBackupVaultName": vault}]}
        )
        for _ in range(2)
    ]
    prefix = f"{REGION}:{ACCOUNT}"
    _, keys = a_user(
        aws,
        allowed("dynamodb:ListTagsOfResource", table),
        allowed("scheduler:GetSchedule", f"arn:aws:scheduler:{prefix}:schedule/{group}/*"),
        allowed("backup:DescribeBackupVault", f"arn:aws:backup:{prefix}:backup-vault:{vault}"),
        allowed("backup:GetBackupPlan", plans[0]["BackupPlanArn"]),
        allowed("rds:CopyDBSnapshot", f"arn:aws:rds:{prefix}:snapshot:mine"),
    )
    of_table, of_rds = aws("dynamodb", **keys), aws("rds", **keys)
    assert not refused(of_table.list_tags_of_resource, ResourceArn=table)
    assert refused(of_table.list_tags_of_resource, ResourceArn=other)
    schedules = aws("scheduler", **keys)
    assert not refused(schedules.get_schedule, Name="not-there", GroupName=group)
    assert refused(schedules.get_schedule, Name="not-there", GroupName="default")
    backups = aws("backup", **keys)
    assert not refused(backups.describe_backup_vault, BackupVaultName=vault)
    assert refused(backups.describe_backup_vault, BackupVaultName=f"{vault}-other")
    assert not refused(backups.get_backup_plan, BackupPlanId=plans[0]["BackupPlanId"])
    assert refused(backups.get_backup_plan, BackupPlanId=plans[1]["BackupPlanId"])
    copied = {"SourceDBSnapshotIdentifier": "theirs"}
    assert not refused(of_rds.copy_db_snapshot, TargetDBSnapshotIdentifier="mine", **copied)
    assert refused(of_rds.copy_db_snapshot, TargetDBSnapshotIdentifier="other", **copied)


def test_a_request_without_tls_is_one(aws: Clients) -> None:
    bucket, s3 = a_bucket(aws), aws("s3")
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    _, keys = a_user(aws, allowed("s3:*"))
    with_tls, without = aws("s3", **keys), aws("s3", **keys)
    without.meta.events.register(
        "before-sign", lambda request, **_: request.headers.add_header("x-forwarded-proto", "http")
    )
    assert not refused(with_tls.list_objects_v2, Bucket=bucket)
    assert refused(without.list_objects_v2, Bucket=bucket)
