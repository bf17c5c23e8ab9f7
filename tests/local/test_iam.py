"""Each role may do what it is for, and is refused what it has no business with."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.local import aws as emulated
from tests.conftest import Local

ACCOUNT = "000000000000"
REGION = "ap-southeast-1"
TABLE, HISTORY = "studentData", "backup-executions"
BUCKET, SITE = "student-backup-20250706", "student-management-website-2025"
FUNCTION = "BackupDynamoDBAndSendEmail"
ROLES = {
    "get": "getStudentDataRole",
    "insert": "insertStudentDataRole",
    "backup": "DynamoDBBackupRoleStudent",
    "finish": "FinishStudentExportRole",
    "verify": "VerifyStudentBackupRole",
    "restore": "RestoreStudentDataRole",
    "drill": "DrillStudentBackupRole",
    "welcome": "SendWelcomeEmailRole",
    "audit": "AuditBackupAccessRole",
    "snapshots": "CopyDatabaseSnapshotRole",
    "report": "SendBackupReportRole",
}
SCHEDULE_ROLE = "Amazon_EventBridge_Scheduler_LAMBDA_7e5e967abf"
Client = Callable[[str], Any]


def mail_from(client: Client, sender: str) -> Any:
    text = {"Data": "x"}
    return client("sesv2").send_email(
        FromEmailAddress=sender,
        Destination={"ToAddresses": ["admin@studentapp.com"]},
        Content={"Simple": {"Subject": text, "Body": {"Text": text}}},
    )


def save(client: Client, table: str) -> Any:
    key = "studentid" if table == TABLE else "id"
    return client("dynamodb").update_item(
        TableName=table,
        Key={key: {"S": "iam-test"}},
        UpdateExpression="SET x = :x",
        ExpressionAttributeValues={":x": {"S": "y"}},
    )


def put_event(client: Client, bus: str) -> Any:
    entry = {"EventBusName": bus, "Source": "test.iam", "DetailType": "test", "Detail": "{}"}
    return client("events").put_events(Entries=[entry])


def make_table(client: Client, name: str) -> Any:
    return client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "studentid", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "studentid", "AttributeType": "S"}],
    )


def send(client: Client, queue: str) -> Any:
    return client("sqs").send_message(QueueUrl=f"http://localhost/{ACCOUNT}/{queue}", MessageBody="{}")


ACTIONS: dict[str, Callable[[Client], Any]] = {
    "scan the records": lambda client: client("dynamodb").scan(TableName=TABLE),
    "save a record": lambda client: save(client, TABLE),
    "get a record": lambda client: client("dynamodb").get_item(TableName=TABLE, Key={"studentid": {"S": "x"}}),
    "delete a record": lambda client: client("dynamodb").delete_item(TableName=TABLE, Key={"studentid": {"S": "x"}}),
    "delete the table": lambda client: client("dynamodb").delete_table(TableName=TABLE),
    "describe the table": lambda client: client("dynamodb").describe_table(TableName=TABLE),
    "put records back": lambda client: client("dynamodb").put_item(
        TableName=TABLE, Item={"studentid": {"S": "iam-test"}}
    ),
    "make a copy": lambda client: make_table(client, f"{TABLE}-restored-iam-{uuid.uuid4()}"),
    "make a scratch table": lambda client: make_table(client, f"{TABLE}-drill-iam-{uuid.uuid4()}"),
    "make another table": lambda client: make_table(client, f"other-{uuid.uuid4()}"),
    "delete a scratch table": lambda client: client("dynamodb").delete_table(TableName=f"{TABLE}-drill-gone"),
    "remember a welcome": lambda client: save(client, "welcomed-users"),
    "write history": lambda client: save(client, HISTORY),
    "scan the history": lambda client: client("dynamodb").scan(TableName=HISTORY),
    "put a backup": lambda client: client("s3").put_object(Bucket=BUCKET, Key="students-backup-iam-test", Body=b"x"),
    "put elsewhere in the bucket": lambda client: client("s3").put_object(Bucket=BUCKET, Key="other", Body=b"x"),
    "read a backup": lambda client: client("s3").get_object(Bucket=BUCKET, Key="students-backup-iam-test"),
    "delete a backup": lambda client: client("s3").delete_object(Bucket=BUCKET, Key="students-backup-iam-test"),
    "list the backups": lambda client: client("s3").list_objects_v2(Bucket=BUCKET),
    "change the site": lambda client: client("s3").put_object(Bucket=SITE, Key="index.html", Body=b"x"),
    "mail as the school": lambda client: mail_from(client, "no-reply@studentapp.com"),
    "mail as somebody else": lambda client: mail_from(client, "admin@studentapp.com"),
    "put an event": lambda client: put_event(client, "student-events"),
    "put an event elsewhere": lambda client: put_event(client, "default"),
    "invoke the backup": lambda client: client("lambda").invoke(FunctionName=FUNCTION, InvocationType="DryRun"),
    "invoke another function": lambda client: client("lambda").invoke(
        FunctionName="getStudentData", InvocationType="DryRun"
    ),
    "change the backup function": lambda client: client("lambda").update_function_configuration(
        FunctionName=FUNCTION, Timeout=1
    ),
    "send a dead letter": lambda client: send(client, "student-backup-dead-letters"),
    "send a schedule's dead letter": lambda client: send(client, "student-backup-schedule-dead-letters"),
    "alert": lambda client: client("sns").publish(
        TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:student-backup-alerts", Message="x"
    ),
    "read the trail": lambda client: client("s3").get_object(Bucket=f"{BUCKET}-audit", Key="AWSLogs/iam-test"),
    "stop the trail": lambda client: client("cloudtrail").stop_logging(Name="student-backup-audit"),
    "look at snapshots": lambda client: client("rds").describe_db_snapshots(DBSnapshotIdentifier="iam-test"),
    "copy a snapshot": lambda client: client("rds").copy_db_snapshot(
        SourceDBSnapshotIdentifier="iam-test", TargetDBSnapshotIdentifier="not-its-own"
    ),
    "delete somebody's snapshot": lambda client: client("rds").delete_db_snapshot(DBSnapshotIdentifier="iam-test"),
    "read the API key": lambda client: client("apigateway").get_api_keys(includeValues=True),
    "change the schedule": lambda client: client("scheduler").delete_schedule(
        Name="DailyDynamoDBBackup", GroupName="student-backups"
    ),
    "make a role": lambda client: client("iam").create_role(RoleName="x", AssumeRolePolicyDocument="{}"),
}
ALLOWED = {
    "audit": {"alert"},
    "report": {"describe the table", "scan the history", "list the backups", "mail as the school"},
    "snapshots": {"alert", "look at snapshots", "copy a snapshot"},
    "welcome": {"remember a welcome", "mail as the school"},
    "get": {"scan the records"},
    "insert": {"save a record", "mail as the school", "put an event"},
    "backup": {
        "put an event",
        "scan the records",
        "describe the table",
        "write history",
        "put a backup",
        "read a backup",
        "list the backups",
        "mail as the school",
        "send a dead letter",
    },
    "finish": {
        "put an event",
        "write history",
        "put a backup",
        "read a backup",
        "list the backups",
        "mail as the school",
    },
    "verify": {"scan the history", "scan the records", "describe the table", "read a backup", "list the backups"},
    "restore": {
        "scan the history",
        "put an event",
        "get a record",
        "save a record",
        "delete a record",
        "scan the records",
        "describe the table",
        "put records back",
        "make a copy",
        "write history",
        "read a backup",
        "list the backups",
    },
    "drill": {
        "scan the history",
        "put an event",
        "make a scratch table",
        "delete a scratch table",
        "write history",
        "read a backup",
        "list the backups",
        "mail as the school",
    },
}


@pytest.fixture(scope="module")
def clients(local: Local) -> dict[str, Client]:
    """Clients with each role's own credentials."""
    sts = emulated.client("sts", local.port, REGION)

    def of(role: str) -> Client:
        credentials = sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="test")[
            "Credentials"
        ]
        return client_of(local, credentials)

    return {name: of(role) for name, role in ROLES.items()}


def client_of(local: Local, credentials: dict[str, str]) -> Client:
    keys = {
        "aws_access_key_id": credentials["AccessKeyId"],
        "aws_secret_access_key": credentials["SecretAccessKey"],
    }
    if "SessionToken" in credentials:
        keys["aws_session_token"] = credentials["SessionToken"]
    return lambda service: emulated.client(service, local.port, REGION, **keys)


def is_refused(action: Callable[[Client], Any], client: Client) -> bool:
    """Whether IAM refuses; anything else that goes wrong is an error of the test."""
    try:
        action(client)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        # It is not there, or the emulator cannot do it: either way IAM let it.
        if code in {"ResourceNotFoundException", "DBSnapshotNotFound", "DBSnapshotNotFoundFault", "InvalidAction"}:
            return False
        if any(word in code for word in ("AccessDenied", "Forbidden", "NotAuthorized", "AuthorizationError")):
            return True
        raise
    return False


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", ACTIONS)
def test_a_role_may_do_what_it_is_for_and_nothing_else(clients: dict[str, Client], role: str, action: str) -> None:
    if action == "read a backup" and action in ALLOWED[role]:
        ACTIONS["put a backup"](clients["backup"])
    assert is_refused(ACTIONS[action], clients[role]) is (action not in ALLOWED[role]), f"{ROLES[role]}: {action}"


def test_the_schedules_policy_on_another_principal_invokes_the_backup_and_nothing_else(local: Local) -> None:
    iam = emulated.client("iam", local.port, REGION)
    policy = iam.get_role_policy(RoleName=SCHEDULE_ROLE, PolicyName="InvokeBackup")["PolicyDocument"]
    user = f"probe-{uuid.uuid4()}"
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="probe", PolicyDocument=json.dumps(policy))
    client = client_of(local, iam.create_access_key(UserName=user)["AccessKey"])
    assert {name for name, action in ACTIONS.items() if not is_refused(action, client)} == {"invoke the backup"}


def test_only_the_backup_role_puts_into_the_bucket_and_an_administrator_is_refused(local: Local) -> None:
    iam = emulated.client("iam", local.port, REGION)
    user = f"admin-{uuid.uuid4()}"
    iam.create_user(UserName=user)
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    iam.put_user_policy(UserName=user, PolicyName="all", PolicyDocument=json.dumps(everything))
    client = client_of(local, iam.create_access_key(UserName=user)["AccessKey"])
    assert is_refused(ACTIONS["put a backup"], client)
    assert not is_refused(ACTIONS["list the backups"], client)


@pytest.mark.parametrize("action", ["put a backup", "read a backup", "send a dead letter"])
def test_what_comes_without_tls_is_refused(clients: dict[str, Client], action: str) -> None:
    def without_tls(service: str) -> Any:
        client = clients["backup"](service)
        client.meta.events.register(
            "before-sign", lambda request, **_: request.headers.add_header("x-forwarded-proto", "http")
        )
        return client

    assert not is_refused(ACTIONS["put a backup"], clients["backup"])
    assert is_refused(ACTIONS[action], without_tls)


def test_the_schedules_role_trusts_the_scheduler_for_this_group_only(local: Local) -> None:
    sts = emulated.client("sts", local.port, REGION)
    with pytest.raises(ClientError, match="AccessDenied"):
        sts.assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{SCHEDULE_ROLE}", RoleSessionName="test")
    role = emulated.client("iam", local.port, REGION).get_role(RoleName=SCHEDULE_ROLE)["Role"]
    [statement] = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {
            "aws:SourceAccount": ACCOUNT,
            "aws:SourceArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/student-backups",
        }
    }
