"""What tests of the bare embedded AWS make in it and ask of it."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ops.cloud import fetch
from ops.local.aws import client as client_of

T = TypeVar("T")
REGION = "ap-southeast-1"
ACCOUNT = "000000000000"


class Clients:
    """Makes clients of the embedded AWS: of the account's root user, or with given credentials."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(self, service: str, **given: Any) -> Any:
        return client_of(service, self.port, REGION, **given)


def a_name() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def eventually(look: Callable[[], T], seconds: float = 10) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def ask(port: int, name: str, wanted: dict[str, Any]) -> Any:
    """Ask a path that AWS does not have."""
    return fetch(f"http://127.0.0.1:{port}/_rollbook/{name}", method="POST", body=json.dumps(wanted).encode()).json()


class Bus:
    """A bus with a rule for each target, and a queue for what is not delivered."""

    def __init__(self, aws: Clients) -> None:
        self._events, self._sqs = aws("events"), aws("sqs")
        self.name = a_name()
        self._events.create_event_bus(Name=self.name)
        self.rule_arn = self._events.put_rule(
            Name=self.name, EventBusName=self.name, EventPattern=json.dumps({"source": ["test"]})
        )["RuleArn"]
        self._undelivered = self.queue([allow("sqs:SendMessage", self.rule_arn)])

    def queue(self, statements: list[dict[str, Any]]) -> str:
        """Make a queue and return its ARN."""
        name = a_name()
        arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"
        policy = json.dumps({"Version": "2012-10-17", "Statement": [found | {"Resource": arn} for found in statements]})
        self._sqs.create_queue(QueueName=name, Attributes={"Policy": policy} if statements else {})
        return arn

    def deliver(self, target_arn: str) -> str:
        """Put an event for one target on the bus and return its id."""
        target = {"Id": "1", "Arn": target_arn, "DeadLetterConfig": {"Arn": self._undelivered}}
        self._events.put_targets(Rule=self.name, EventBusName=self.name, Targets=[target])
        entry = {"Source": "test", "DetailType": "t", "Detail": "{}", "EventBusName": self.name}
        return str(self._events.put_events(Entries=[entry])["Entries"][0]["EventId"])

    def undelivered(self) -> dict[str, str]:
        """Return event id to reason."""
        return {
            json.loads(found["Body"])["id"]: found["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]
            for found in self.read(self._undelivered)
        }

    def read(self, queue_arn: str) -> list[dict[str, Any]]:
        url = self._sqs.get_queue_url(QueueName=queue_arn.rpartition(":")[2])["QueueUrl"]
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))


def allow(action: str, source_arn: str = "") -> dict[str, Any]:
    """Return a statement that lets EventBridge act, for one rule or for all."""
    statement = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": action}
    return statement | ({"Condition": {"ArnEquals": {"aws:SourceArn": source_arn}}} if source_arn else {})


def a_function(aws: Clients, code: str) -> str:
    """Make a function from the text of its module, with a role that may log, and return its ARN."""
    role = a_name()
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role_arn = aws("iam").create_role(RoleName=role, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed("logs:*")]})
    aws("iam").put_role_policy(RoleName=role, PolicyName="logs", PolicyDocument=document)
    return create_function(aws, role_arn, code)


def create_function(aws: Clients, role_arn: str, code: str, **given: Any) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("module.py", code)
    made = aws("lambda").create_function(
        FunctionName=a_name(),
        Runtime="python3.11",
        Role=role_arn,
        Handler="module.handler",
        Code={"ZipFile": packed.getvalue()},
        Timeout=30,  # a first start on a busy machine may take longer than the default of 3 s
        **given,
    )
    return str(made["FunctionArn"])


def a_user(aws: Clients, *statements: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Make an IAM user; return its name and credentials for a client."""
    iam, name = aws("iam"), a_name()
    iam.create_user(UserName=name)
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": [*statements]})
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": key["SecretAccessKey"]}


def allowed(action: str, resource: str = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def of_role(aws: Clients, *statements: dict[str, Any], trusted: dict[str, Any] | None = None) -> str:
    """Make a role and return its ARN."""
    name = a_name()
    trust = {
        "Effect": "Allow",
        "Principal": trusted or {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    arn = aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": [*statements]})
        aws("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    return str(arn)


def assumed(aws: Clients, role_arn: str) -> dict[str, str]:
    """Return the credentials of a session of a role."""
    _, keys = a_user(aws, allowed("sts:AssumeRole"))
    session = aws("sts", **keys).assume_role(RoleArn=role_arn, RoleSessionName="chi")["Credentials"]
    return {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }


def refused(call: Callable[..., Any], **given: Any) -> bool:
    """Return whether IAM refuses a call."""
    try:
        call(**given)
    except ClientError as error:
        return error.response["Error"]["Code"] in {"AccessDenied", "AccessDeniedException"}
    return False


def a_bucket(aws: Clients) -> str:
    name = a_name()
    aws("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def a_table(aws: Clients) -> str:
    made = aws("dynamodb").create_table(
        TableName=a_name(),
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return str(made["TableDescription"]["TableArn"])


def logged(aws: Clients, function_arn: str) -> str:
    """Return a function's log."""
    logs, group = aws("logs"), f"/aws/lambda/{function_arn.rpartition(':')[2]}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return ""
    return " ".join(event["message"] for event in logs.filter_log_events(logGroupName=group)["events"])
