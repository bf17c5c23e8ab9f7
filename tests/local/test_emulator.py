"""What the embedded AWS adds to MiniStack, on a bare process: docs/emulator.md names the rules and their sources."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.error
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from handlers.audit import record
from ops.cloud import fetch
from ops.local import Emulator, free_port
from ops.local import client as client_of
from tests.conftest import Stacks

T = TypeVar("T")
REGION = "ap-southeast-1"
ACCOUNT = "000000000000"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    emulator = Emulator(tmp_path_factory.mktemp("emulator"), free_port())
    emulator.start()
    yield emulator.port
    emulator.stop()


@pytest.fixture
def aws(port: int) -> Callable[..., Any]:
    """Make a client of the account's root user, or with given credentials."""
    return lambda service, **given: client_of(service, port, REGION, **given)


def a_name() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def eventually(look: Callable[[], T], seconds: float = 10) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def of_root(port: int, name: str, wanted: dict[str, Any]) -> Any:
    """Ask a path that AWS does not have."""
    return fetch(f"http://127.0.0.1:{port}/_rollbook/{name}", method="POST", body=json.dumps(wanted).encode()).json()


class Bus:
    """A bus with a rule for each target, and a queue for what is not delivered."""

    def __init__(self, aws: Callable[..., Any]) -> None:
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


def with_arns(document: str, **arns: str) -> str:
    """Put ARNs where Terraform does, by resource type."""
    for kind, arn in arns.items():
        document = re.sub(rf"\$\{{{kind}\.[\w-]+\.arn}}", arn, document)
    return document


@pytest.mark.parametrize("environment", ["local", "production"])
def test_each_synthesized_log_policy_lets_events_reach_their_log_group(
    aws: Callable[..., Any], stacks: Stacks, environment: str
) -> None:
    logs = aws("logs")
    bus = Bus(aws)
    policies = stacks.resources(environment, "aws_cloudwatch_log_resource_policy")
    assert policies
    for name, found in policies.items():
        group = f"/aws/events/{a_name()}"
        logs.create_log_group(logGroupName=group)
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
        document = with_arns(
            found["policy_document"], aws_cloudwatch_log_group=arn, aws_cloudwatch_event_rule=bus.rule_arn
        )
        logs.put_resource_policy(policyName=name, policyDocument=document)
        id_ = bus.deliver(arn)
        written = logs.filter_log_events(logGroupName=group)["events"]
        assert [json.loads(event["message"])["id"] for event in written] == [id_], f"{name}: {bus.undelivered()}"
        logs.delete_resource_policy(policyName=name)


def test_a_condition_on_the_rule_refuses_the_log_stream_for_which_eventbridge_does_not_name_it(
    aws: Callable[..., Any],
) -> None:
    logs, bus, group = aws("logs"), Bus(aws), f"/aws/events/{a_name()}"
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"

    def deliver_under(*statements: dict[str, Any]) -> str:
        document = {"Version": "2012-10-17", "Statement": [found | {"Resource": f"{arn}:*"} for found in statements]}
        logs.put_resource_policy(policyName=bus.name, policyDocument=json.dumps(document))
        return bus.deliver(arn)

    stream, write = "logs:CreateLogStream", "logs:PutLogEvents"
    refused = deliver_under(allow(stream, bus.rule_arn), allow(write, bus.rule_arn))
    delivered = deliver_under(allow(stream), allow(write, bus.rule_arn))
    others = deliver_under(allow(stream), allow(write, f"{bus.rule_arn}-other"))
    written = logs.filter_log_events(logGroupName=group)["events"]
    assert [json.loads(event["message"])["id"] for event in written] == [delivered]
    assert bus.undelivered() == {
        refused: f"not authorized to perform {stream} on {arn}",
        others: f"not authorized to perform {write} on {arn}",
    }
    logs.delete_resource_policy(policyName=bus.name)


def test_a_queue_takes_a_rules_events_only_if_its_policy_lets_that_rule(aws: Callable[..., Any]) -> None:
    bus = Bus(aws)
    silent, other = bus.queue([]), bus.queue([allow("sqs:SendMessage", "arn:aws:events:x:1:rule/other")])
    open_ = bus.queue([allow("sqs:SendMessage", bus.rule_arn)])
    refused = {bus.deliver(silent), bus.deliver(other)}
    delivered = bus.deliver(open_)
    assert set(bus.undelivered()) == refused
    assert [json.loads(found["Body"])["id"] for found in bus.read(open_)] == [delivered]
    assert bus.read(silent) == bus.read(other) == []


def test_a_topic_that_names_the_rule_in_a_condition_gets_no_events(aws: Callable[..., Any]) -> None:
    sns, bus = aws("sns"), Bus(aws)
    topic = sns.create_topic(Name=a_name())["TopicArn"]

    def deliver_under(statement: dict[str, Any]) -> str:
        document = {"Version": "2012-10-17", "Statement": [statement | {"Resource": topic}]}
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps(document))
        return bus.deliver(topic)

    refused = deliver_under(allow("sns:Publish", bus.rule_arn))
    deliver_under(allow("sns:Publish"))
    assert set(bus.undelivered()) == {refused}


@pytest.mark.parametrize("environment", ["local", "production"])
def test_the_synthesized_topic_policies_let_their_rules_publish(
    aws: Callable[..., Any], stacks: Stacks, environment: str
) -> None:
    """A policy is in question if one of its statements is for EventBridge."""
    sns, bus = aws("sns"), Bus(aws)
    policies = [
        found["policy"]
        for found in stacks.resources(environment, "aws_sns_topic_policy").values()
        if "events.amazonaws.com" in found["policy"]
    ]
    assert policies
    for found in policies:
        topic = sns.create_topic(Name=a_name())["TopicArn"]
        document = with_arns(found, aws_sns_topic=topic, aws_cloudwatch_event_rule=bus.rule_arn)
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=document)
        bus.deliver(topic)
    assert bus.undelivered() == {}


def test_a_function_takes_a_rules_events_only_if_its_policy_lets_that_rule(aws: Callable[..., Any]) -> None:
    functions, bus = aws("lambda"), Bus(aws)
    arn = a_function(aws, "def handler(event, context):\n    print('seen', event['id'])\n")
    refused = bus.deliver(arn)
    functions.add_permission(
        FunctionName=arn,
        StatementId="rule",
        Action="lambda:InvokeFunction",
        Principal="events.amazonaws.com",
        SourceArn=bus.rule_arn,
    )
    delivered = bus.deliver(arn)
    group = f"/aws/lambda/{arn.rpartition(':')[2]}"
    logs = aws("logs")

    def seen() -> list[str]:
        if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            return []
        events = logs.filter_log_events(logGroupName=group)["events"]
        return re.findall(r"seen (\S+)", " ".join(event["message"] for event in events))

    assert eventually(seen) == [delivered]
    assert set(bus.undelivered()) == {refused}


def a_function(aws: Callable[..., Any], code: str) -> str:
    """Make a function from the text of its module, with a role that may log, and return its ARN."""
    role = a_name()
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role_arn = aws("iam").create_role(RoleName=role, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed("logs:*")]})
    aws("iam").put_role_policy(RoleName=role, PolicyName="logs", PolicyDocument=document)
    return create_function(aws, role_arn, code)


def create_function(aws: Callable[..., Any], role_arn: str, code: str, **given: Any) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("module.py", code)
    made = aws("lambda").create_function(
        FunctionName=a_name(),
        Runtime="python3.11",
        Role=role_arn,
        Handler="module.handler",
        Code={"ZipFile": packed.getvalue()},
        **given,
    )
    return str(made["FunctionArn"])


class Trail:
    """A trail that logs, a bucket, and a queue with the events of the default bus that are about the bucket."""

    def __init__(self, aws: Callable[..., Any], selectors: Callable[[str], list[dict[str, Any]]], **rule: Any) -> None:
        self.bucket, self.name, self._aws = a_name(), a_name(), aws
        aws("s3").create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        pattern = {
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {
                "$or": [
                    {"requestParameters": {"bucketName": [self.bucket]}},
                    {"requestParameters": {"tableName": [self.bucket]}},
                ]
            },
        }
        rule_arn = aws("events").put_rule(Name=self.name, EventPattern=json.dumps(pattern), **rule)["RuleArn"]
        self._bus = Bus(aws)
        self._queue = self._bus.queue([allow("sqs:SendMessage", rule_arn)])
        aws("events").put_targets(Rule=self.name, Targets=[{"Id": "1", "Arn": self._queue}])
        aws("s3").create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        aws("cloudtrail").create_trail(Name=self.name, S3BucketName=self.name)
        aws("cloudtrail").put_event_selectors(TrailName=self.name, AdvancedEventSelectors=selectors(self.bucket))

    def start(self) -> None:
        self._aws("cloudtrail").start_logging(Name=self.name)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(message["Body"])["detail"] for message in self._bus.read(self._queue)]

    def remove(self) -> None:
        self._aws("cloudtrail").delete_trail(Name=self.name)
        self._aws("events").remove_targets(Rule=self.name, Ids=["1"])
        self._aws("events").delete_rule(Name=self.name)


def fields(**equal: str) -> dict[str, Any]:
    """Return an advanced selector."""
    return {"FieldSelectors": [{"Field": name.replace("_", "."), "Equals": [value]} for name, value in equal.items()]}


def objects_of(bucket: str) -> list[dict[str, Any]]:
    selector = fields(eventCategory="Data", resources_type="AWS::S3::Object")
    selector["FieldSelectors"].append({"Field": "resources.ARN", "StartsWith": [f"arn:aws:s3:::{bucket}/in/"]})
    return [selector]


@pytest.fixture
def data_trail(aws: Callable[..., Any]) -> Iterator[Trail]:
    trail = Trail(aws, objects_of)
    trail.start()
    yield trail
    trail.remove()


def a_user(aws: Callable[..., Any], *statements: dict[str, Any]) -> tuple[str, dict[str, str]]:
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


def test_a_call_on_an_object_is_recorded_with_its_caller_and_reaches_the_default_bus(
    aws: Callable[..., Any], data_trail: Trail
) -> None:
    bucket = data_trail.bucket
    aws("s3").put_object(Bucket=bucket, Key="in/a b", Body=b"x")
    user, keys = a_user(aws, allowed("s3:GetObject"), allowed("sts:AssumeRole"))
    aws("s3", **keys).get_object(Bucket=bucket, Key="in/a b")
    with pytest.raises(ClientError, match="AccessDenied"):
        aws("s3", **keys).delete_object(Bucket=bucket, Key="in/a b")
    role = a_name()
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    aws("iam").create_role(
        RoleName=role, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed("s3:*")]})
    aws("iam").put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document)
    made = aws("iam").get_role(RoleName=role)["Role"]
    session = aws("sts", **keys).assume_role(RoleArn=made["Arn"], RoleSessionName="chi")["Credentials"]
    of_role = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    aws("s3", **of_role).copy_object(Bucket=bucket, Key="in/b", CopySource={"Bucket": bucket, "Key": "in/a b"})
    put, got, refused, copied = eventually(lambda: found if len(found := data_trail.records()) > 3 else [])

    assert (put["eventName"], put["userIdentity"]["type"]) == ("PutObject", "Root")
    assert put["userIdentity"]["arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert put["requestParameters"].items() >= {"bucketName": bucket, "key": "in/a b"}.items()
    assert (got["eventName"], got["readOnly"]) == ("GetObject", True)
    assert got["userIdentity"] == {
        "type": "IAMUser",
        "principalId": aws("iam").get_user(UserName=user)["User"]["UserId"],
        "arn": f"arn:aws:iam::{ACCOUNT}:user/{user}",
        "accountId": ACCOUNT,
        "accessKeyId": keys["aws_access_key_id"],
        "userName": user,
    }
    assert got["resources"][0] == {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::{bucket}/in/a b"}
    assert (refused["eventName"], refused["errorCode"]) == ("DeleteObject", "AccessDenied")
    assert refused["responseElements"] is None
    assert copied["eventName"] == "CopyObject"
    assert {each["ARN"] for each in copied["resources"]} == {
        f"arn:aws:s3:::{bucket}/in/a b",
        f"arn:aws:s3:::{bucket}/in/b",
    }
    assert copied["userIdentity"]["arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/chi"
    assert copied["userIdentity"]["principalId"] == f"{made['RoleId']}:chi"
    issuer = copied["userIdentity"]["sessionContext"]["sessionIssuer"]
    assert issuer == {
        "type": "Role",
        "principalId": made["RoleId"],
        "arn": made["Arn"],
        "accountId": ACCOUNT,
        "userName": role,
    }
    for each in (put, got, refused, copied):
        assert (each["eventCategory"], each["managementEvent"], each["awsRegion"]) == ("Data", False, REGION)
        record.parse(each, bucket)  # the audit function reads it


def test_what_a_trail_does_not_log_reaches_no_bus(aws: Callable[..., Any], data_trail: Trail) -> None:
    s3, bucket = aws("s3"), data_trail.bucket
    s3.put_object(Bucket=bucket, Key="out/a", Body=b"x")  # the selector names another prefix
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})  # a management event
    wrong = aws("s3", aws_access_key_id="AKIANOTTHERE00000000", aws_secret_access_key="x")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        wrong.get_object(Bucket=bucket, Key="in/a")  # who calls is not known
    aws("cloudtrail").stop_logging(Name=data_trail.name)
    s3.put_object(Bucket=bucket, Key="in/stopped", Body=b"x")
    aws("cloudtrail").start_logging(Name=data_trail.name)
    s3.put_object(Bucket=bucket, Key="in/last", Body=b"x")
    assert [each["requestParameters"]["key"] for each in data_trail.records()] == ["in/last"]


def test_a_new_trail_logs_nothing_until_it_is_started(aws: Callable[..., Any]) -> None:
    trail = Trail(aws, objects_of)
    aws("s3").put_object(Bucket=trail.bucket, Key="in/before", Body=b"x")
    trail.start()
    aws("s3").put_object(Bucket=trail.bucket, Key="in/after", Body=b"x")
    assert [each["requestParameters"]["key"] for each in trail.records()] == ["in/after"]
    trail.remove()


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("ENABLED", ["CreateTable"]),
        ("ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", ["CreateTable", "DescribeTable"]),
    ],
)
def test_management_events_need_a_trail_and_those_that_read_a_rule_that_wants_all(
    aws: Callable[..., Any], state: str, names: list[str]
) -> None:
    trail = Trail(aws, lambda _: [fields(eventCategory="Management")], State=state)
    dynamodb, of_hash = aws("dynamodb"), {"AttributeName": "id", "KeyType": "HASH"}

    def make(name: str) -> None:
        dynamodb.create_table(
            TableName=name,
            KeySchema=[of_hash],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb.describe_table(TableName=name)
        dynamodb.put_item(TableName=name, Item={"id": {"S": "1"}})

    make(f"{trail.bucket}-before")
    trail.start()
    make(trail.bucket)
    records = trail.records()
    assert [each["eventName"] for each in records] == names
    assert records[0]["responseElements"]["tableDescription"]["tableName"] == trail.bucket
    assert {each["eventCategory"] for each in records} == {"Management"}
    attributes = [{"AttributeKey": "EventSource", "AttributeValue": "dynamodb.amazonaws.com"}]
    looked_up = aws("cloudtrail").lookup_events(LookupAttributes=attributes)["Events"]
    about = [json.loads(each["CloudTrailEvent"]) for each in looked_up]
    assert [
        each["eventName"] for each in about if each["requestParameters"]["tableName"] == f"{trail.bucket}-before"
    ] == [
        "DescribeTable",
        "CreateTable",
    ], "the history has management events without a trail, and no data events"
    trail.remove()


@dataclass(frozen=True)
class Selections:
    """Backup selections of one plan, and three tables to select."""

    aws: Callable[..., Any]
    port: int
    plan_id: str
    tables: dict[str, str]

    def assigned(self, **wanted: Any) -> set[str]:
        """Return which of the three a selection assigns."""
        selection = {"SelectionName": a_name(), "IamRoleArn": f"arn:aws:iam::{ACCOUNT}:role/backup", **wanted}
        made = self.aws("backup").create_backup_selection(BackupPlanId=self.plan_id, BackupSelection=selection)
        wanted = {"Region": REGION, "SelectionId": made["SelectionId"]}
        arns = of_root(self.port, "backup-selection", wanted)["ResourceArns"]
        return {name for name, arn in self.tables.items() if arn in arns}


@pytest.fixture(scope="module")
def selections(port: int) -> Selections:
    def aws(service: str) -> Any:
        return client_of(service, port, REGION)

    plan = {"BackupPlanName": a_name(), "Rules": [{"RuleName": "r", "TargetBackupVaultName": "v"}]}
    tables = {}
    for name, tags in {
        "daily": {"backup": "daily", "env": "prod"},
        "weekly": {"backup": "weekly", "env": "production"},
        "none": {},
    }.items():
        tables[name] = aws("dynamodb").create_table(
            TableName=a_name(),
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )["TableDescription"]["TableArn"]
    plan_id = aws("backup").create_backup_plan(BackupPlan=plan)["BackupPlanId"]
    return Selections(aws, port, plan_id, tables)


def tagged(operator: str, *pairs: tuple[str, str]) -> dict[str, list[dict[str, str]]]:
    return {operator: [{"ConditionKey": f"aws:ResourceTag/{key}", "ConditionValue": value} for key, value in pairs]}


def any_tag(key: str, value: str) -> dict[str, str]:
    return {"ConditionType": "STRINGEQUALS", "ConditionKey": key, "ConditionValue": value}


def test_a_selection_with_an_empty_condition_and_a_star_assigns_everything(selections: Selections) -> None:
    everything = {"daily", "weekly", "none"}
    assert selections.assigned(Resources=["*"], Conditions={"StringEquals": []}) == everything
    assert selections.assigned(Resources=["*"], Conditions={}) == everything
    assert selections.assigned(Resources=["*"], Conditions=tagged("StringEquals", ("backup", "daily"))) == {"daily"}


def test_a_selection_assigns_by_arn_by_any_tag_and_by_all_conditions(selections: Selections) -> None:
    assigned, arns = selections.assigned, selections.tables
    assert assigned() == set(arns), "a selection of nothing assigns everything"
    assert assigned(Resources=[arns["none"]]) == {"none"}
    assert assigned(Resources=["arn:aws:s3:::*"]) == set()
    assert assigned(ListOfTags=[any_tag("backup", "daily"), any_tag("backup", "weekly")]) == {"daily", "weekly"}
    assert assigned(ListOfTags=[any_tag("backup", "Daily")]) == set(), "values are case-sensitive"
    assert assigned(ListOfTags=[any_tag("backup", "daily")], Resources=[arns["none"]]) == {"daily", "none"}
    both = tagged("StringEquals", ("backup", "daily"), ("env", "production"))
    assert assigned(Resources=["*"], Conditions=both) == set()
    assert assigned(Resources=["*"], Conditions=tagged("StringLike", ("env", "*rod*"))) == {"daily", "weekly"}
    assert assigned(Resources=["*"], Conditions=tagged("StringNotEquals", ("env", "prod"))) == {"weekly", "none"}
    assert assigned(Resources=["*"], Conditions=tagged("StringNotLike", ("env", "prod*"))) == {"none"}
    assert assigned(Resources=["*"], NotResources=[arns["weekly"]]) == {"daily", "none"}


def test_a_selection_refuses_a_wildcard_that_is_not_at_the_end(selections: Selections) -> None:
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        selections.assigned(Resources=["arn:aws:s3:::*-logs"])


class Api:
    """A REST API with one method that answers by itself and wants a key, a stage, and a plan with a key."""

    def __init__(self, aws: Callable[..., Any], port: int, **plan: Any) -> None:
        self._gateway, self._port = aws("apigateway"), port
        self.id = self._gateway.create_rest_api(name=a_name())["id"]
        [self.root] = self._gateway.get_resources(restApiId=self.id)["items"]
        self.add_method("GET")
        self.deploy()
        self.plan_id = self._gateway.create_usage_plan(
            name=a_name(), apiStages=[{"apiId": self.id, "stage": "prod"}], **plan
        )["id"]
        key = self._gateway.create_api_key(name=a_name(), value=uuid.uuid4().hex, enabled=True)
        self._gateway.create_usage_plan_key(usagePlanId=self.plan_id, keyId=key["id"], keyType="API_KEY")
        self._key = key["value"]

    def add_method(self, method: str) -> None:
        of_method = {"restApiId": self.id, "resourceId": self.root["id"], "httpMethod": method}
        self._gateway.put_method(**of_method, authorizationType="NONE", apiKeyRequired=True)
        self._gateway.put_method_response(**of_method, statusCode="200")
        self._gateway.put_integration(
            **of_method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'}
        )
        self._gateway.put_integration_response(**of_method, statusCode="200")

    def deploy(self) -> None:
        self._gateway.create_deployment(restApiId=self.id, stageName="prod")

    def change_plan(self, path: str, value: str) -> None:
        patch = {"op": "replace", "path": path, "value": value}
        self._gateway.update_usage_plan(usagePlanId=self.plan_id, patchOperations=[patch])

    def call(self, method: str = "GET") -> tuple[int, str]:
        url = f"http://127.0.0.1:{self._port}/_aws/execute-api/{self.id}/prod/"
        request = urllib.request.Request(url, method=method, headers={"x-api-key": self._key})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def test_a_usage_plan_throttles_its_key_with_a_token_bucket(aws: Callable[..., Any], port: int) -> None:
    api = Api(aws, port, throttle={"rateLimit": 0.5, "burstLimit": 3})
    answers = [api.call() for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, 429]
    assert json.loads(answers[3][1]) == {"message": "Too Many Requests"}
    assert eventually(lambda: api.call()[0] == 200), "the bucket fills again"


def test_a_usage_plan_ends_at_its_quota_also_when_the_quota_was_changed_by_a_patch(
    aws: Callable[..., Any], port: int
) -> None:
    api = Api(aws, port, quota={"limit": 2, "period": "DAY"})
    assert [api.call()[0] for _ in range(2)] == [200, 200]
    status, body = api.call()
    assert (status, json.loads(body)) == (429, {"message": "Limit Exceeded"})
    api.change_plan("/quota/limit", "3")
    assert [api.call()[0] for _ in range(2)] == [200, 429]


def test_a_stage_serves_what_was_deployed(aws: Callable[..., Any], port: int) -> None:
    api = Api(aws, port)
    api.add_method("PUT")
    assert api.call("PUT")[0] == 403, "the method was not deployed"
    aws("apigateway").delete_method(restApiId=api.id, resourceId=api.root["id"], httpMethod="GET")
    assert api.call("GET")[0] == 200, "its deletion was not deployed"
    api.deploy()
    assert (api.call("PUT")[0], api.call("GET")[0]) == (200, 403)


@pytest.fixture
def slow_iam(port: int) -> Iterator[float]:
    """Let changes of IAM take effect a second and a half later."""
    yield of_root(port, "iam-propagation", {"Seconds": 1.5})["Seconds"]
    of_root(port, "iam-propagation", {"Seconds": 0})


def may_list_tables(client: Any) -> bool:
    try:
        client.list_tables()
    except client.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return False
    return True


def test_a_changed_policy_takes_effect_later_when_iam_is_slow(aws: Callable[..., Any], slow_iam: float) -> None:
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
    aws: Callable[..., Any], slow_iam: float
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


def test_a_function_is_refused_a_role_that_does_not_trust_lambda(aws: Callable[..., Any]) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "scheduler.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role_arn = aws("iam").create_role(RoleName=a_name(), AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for arn in (role_arn, f"{role_arn}-not-there"):
        with pytest.raises(ClientError, match=r"InvalidParameterValueException.*cannot be assumed by Lambda"):
            create_function(aws, arn, "def handler(event, context): ...\n")


def of_role(aws: Callable[..., Any], *statements: dict[str, Any], trusted: dict[str, Any] | None = None) -> str:
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


def assumed(aws: Callable[..., Any], role_arn: str) -> dict[str, str]:
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


def a_bucket(aws: Callable[..., Any]) -> str:
    name = a_name()
    aws("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def a_table(aws: Callable[..., Any]) -> str:
    made = aws("dynamodb").create_table(
        TableName=a_name(),
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return str(made["TableDescription"]["TableArn"])


def test_the_principal_of_a_session_is_its_role(aws: Callable[..., Any]) -> None:
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


def test_a_mail_is_about_its_sender(aws: Callable[..., Any]) -> None:
    ses = aws("sesv2")
    for sender in ("a@school.example", "b@school.example"):
        ses.create_email_identity(EmailIdentity=sender)
    mail = {"Simple": {"Subject": {"Data": "s"}, "Body": {"Text": {"Data": "t"}}}}
    to = {"Destination": {"ToAddresses": ["c@school.example"]}, "Content": mail}
    identity = f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/a@school.example"
    of_a = {"Condition": {"StringEquals": {"ses:FromAddress": "a@school.example"}}}
    for statement in (allowed("ses:SendEmail", identity), allowed("ses:SendEmail") | of_a):
        _, keys = a_user(aws, statement)
        mailer = aws("sesv2", **keys)
        assert not refused(mailer.send_email, FromEmailAddress="a@school.example", **to)
        assert refused(mailer.send_email, FromEmailAddress="b@school.example", **to)


def test_a_policy_for_one_resource_is_for_that_one(aws: Callable[..., Any]) -> None:
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


def test_a_request_without_tls_is_one(aws: Callable[..., Any]) -> None:
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


def logged(aws: Callable[..., Any], function_arn: str) -> str:
    """Return a function's log."""
    logs, group = aws("logs"), f"/aws/lambda/{function_arn.rpartition(':')[2]}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return ""
    return " ".join(event["message"] for event in logs.filter_log_events(logGroupName=group)["events"])


def test_a_schedule_acts_with_its_role_and_fills_in_what_it_is(aws: Callable[..., Any]) -> None:
    function = a_function(aws, "def handler(event, context):\n    print('got', event)\n")
    bus, scheduler = Bus(aws), aws("scheduler")
    queue = bus.queue([])
    group = a_name()
    scheduler.create_schedule_group(Name=group)
    trusted = {"Service": "scheduler.amazonaws.com"}
    may_bury = allowed("sqs:SendMessage", queue)
    roles = [of_role(aws, may_bury, allowed("lambda:InvokeFunction", function), trusted=trusted)]
    roles.append(of_role(aws, may_bury, trusted=trusted))
    moment = datetime.now(UTC) + timedelta(seconds=1)
    names = [a_name(), a_name()]
    for name, role in zip(names, roles, strict=True):
        wanted = {
            "Name": name,
            "GroupName": group,
            "ClientToken": name,
            "ScheduleExpression": f"at({moment:%Y-%m-%dT%H:%M:%S})",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {
                "Arn": function,
                "RoleArn": role,
                "Input": '{"of": "<aws.scheduler.schedule-arn>", "try": "<aws.scheduler.attempt-number>"}',
                "DeadLetterConfig": {"Arn": queue},
            },
        }
        made = scheduler.create_schedule(**wanted)
        assert scheduler.create_schedule(**wanted)["ScheduleArn"] == made["ScheduleArn"], "it is the same request"
    assert f"schedule/{group}/{names[0]}', 'try': '1'" in eventually(lambda: logged(aws, function))
    [dead] = eventually(lambda: bus.read(queue))
    assert dead["MessageAttributes"]["SCHEDULE_ARN"]["StringValue"].endswith(f"schedule/{group}/{names[1]}")
    assert "lambda:InvokeFunction" in dead["MessageAttributes"]["ERROR_MESSAGE"]["StringValue"]


def test_a_failed_event_is_itself_in_the_dead_letter_queue_and_the_destination_is_told_too(
    aws: Callable[..., Any],
) -> None:
    bus, functions = Bus(aws), aws("lambda")
    dead, told = bus.queue([]), bus.queue([])
    role = of_role(aws, allowed("sqs:SendMessage"), trusted={"Service": "lambda.amazonaws.com"})
    code = "def handler(event, context):\n    raise ValueError('no')\n"
    function = create_function(aws, role, code, DeadLetterConfig={"TargetArn": dead})
    functions.put_function_event_invoke_config(
        FunctionName=function, MaximumRetryAttempts=0, DestinationConfig={"OnFailure": {"Destination": told}}
    )
    functions.invoke(FunctionName=function, InvocationType="Event", Payload=b'{"x": 1}')
    [letter] = eventually(lambda: bus.read(dead))
    assert json.loads(letter["Body"]) == {"x": 1}
    assert letter["MessageAttributes"]["ErrorMessage"]["StringValue"] == "no"
    [record_] = eventually(lambda: bus.read(told))
    assert json.loads(record_["Body"])["requestPayload"] == {"x": 1}


def test_an_event_of_a_rule_is_tried_again_when_the_function_fails(aws: Callable[..., Any]) -> None:
    bus = Bus(aws)
    function = a_function(aws, "def handler(event, context):\n    raise ValueError('no')\n")
    aws("lambda").add_permission(
        FunctionName=function, StatementId="r", Action="lambda:InvokeFunction", Principal="events.amazonaws.com"
    )
    dead = bus.queue([])
    aws("lambda").update_function_configuration(FunctionName=function, DeadLetterConfig={"TargetArn": dead})
    aws("lambda").put_function_event_invoke_config(FunctionName=function, MaximumRetryAttempts=0)
    id_ = bus.deliver(function)
    [letter] = eventually(lambda: bus.read(dead))
    assert json.loads(letter["Body"])["id"] == id_


def test_metrics_in_a_functions_log_are_put(aws: Callable[..., Any]) -> None:
    space = a_name()
    said = {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": space,
                    "Dimensions": [["table"]],
                    "Metrics": [{"Name": "items", "Unit": "Count"}],
                }
            ],
        },
        "table": "t",
        "items": [2, 3],
    }
    code = f"import json\ndef handler(event, context):\n    print({json.dumps(json.dumps(said))})\n"
    aws("lambda").invoke(FunctionName=a_function(aws, code))
    now = datetime.now(UTC)
    points = aws("cloudwatch").get_metric_statistics(
        Namespace=space,
        MetricName="items",
        Dimensions=[{"Name": "table", "Value": "t"}],
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=3600,
        Statistics=["Sum", "SampleCount"],
    )["Datapoints"]
    assert [(point["Sum"], point["SampleCount"]) for point in points] == [(5, 2)]


def test_an_alarm_is_described_in_full_in_the_query_protocol(aws: Callable[..., Any], port: int) -> None:
    name = a_name()
    aws("cloudwatch").put_metric_alarm(
        AlarmName=name,
        AlarmDescription="<d>",
        Namespace="n",
        MetricName="m",
        Dimensions=[{"Name": "table", "Value": "t"}],
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=3,
        DatapointsToAlarm=2,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="breaching",
    )
    body = f"Action=DescribeAlarms&Version=2010-08-01&AlarmNames.member.1={name}".encode()
    request = AWSRequest(
        "POST",
        f"http://127.0.0.1:{port}/",
        data=body,
        headers={"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
    )
    SigV4Auth(Credentials("test", "test"), "monitoring", REGION).add_auth(request)
    answer = fetch(request.url, method="POST", headers=dict(request.headers), body=body).body.decode()
    for text in (
        "<AlarmDescription>&lt;d&gt;</AlarmDescription>",
        "<Dimensions><member><Name>table</Name><Value>t</Value></member></Dimensions>",
        "<DatapointsToAlarm>2</DatapointsToAlarm>",
        "<TreatMissingData>breaching</TreatMissingData>",
    ):
        assert text in answer


def test_parts_of_an_api_are_patched_and_tagged_as_they_are_shown(aws: Callable[..., Any], port: int) -> None:
    api, gateway = Api(aws, port, throttle={"rateLimit": 1, "burstLimit": 1}), aws("apigateway")
    api.change_plan("/throttle/burstLimit", "7")
    assert gateway.get_usage_plan(usagePlanId=api.plan_id)["throttle"]["burstLimit"] == 7
    of_method = {"restApiId": api.id, "resourceId": api.root["id"], "httpMethod": "GET"}
    patch = {"op": "add", "path": "/requestTemplates/application~1xml", "value": "x"}
    gateway.update_integration(**of_method, patchOperations=[patch])
    assert gateway.get_integration(**of_method)["requestTemplates"]["application/xml"] == "x"
    arn = f"arn:aws:apigateway:{REGION}::/restapis/{api.id}/stages/prod"
    gateway.tag_resource(resourceArn=arn, tags={"a": "1", "b": "2"})
    gateway.untag_resource(resourceArn=arn, tagKeys=["b"])
    assert gateway.get_stage(restApiId=api.id, stageName="prod")["tags"] == {"a": "1"}


def test_a_trail_has_the_tags_that_it_is_made_with(aws: Callable[..., Any]) -> None:
    cloudtrail, name = aws("cloudtrail"), a_name()
    tags = [{"Key": "k", "Value": "v"}]
    arn = cloudtrail.create_trail(Name=name, S3BucketName=a_bucket(aws), TagsList=tags)["TrailARN"]
    assert cloudtrail.list_tags(ResourceIdList=[arn])["ResourceTagList"][0]["TagsList"] == tags
    cloudtrail.delete_trail(Name=name)


def test_a_bus_takes_a_whole_policy(aws: Callable[..., Any]) -> None:
    events, name = aws("events"), a_name()
    events.create_event_bus(Name=name)
    statement = {"Sid": "x", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "events:PutEvents"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    events.put_permission(EventBusName=name, Policy=json.dumps(document))
    assert json.loads(events.describe_event_bus(Name=name)["Policy"]) == document


def test_cloudfront_reads_in_its_own_name_and_is_told_what_is_missing(aws: Callable[..., Any], port: int) -> None:
    trail = Trail(aws, lambda _: [fields(eventCategory="Data", resources_type="AWS::S3::Object")])
    cloudfront, bucket = aws("cloudfront"), trail.bucket
    control = cloudfront.create_origin_access_control(
        OriginAccessControlConfig={
            "Name": bucket,
            "SigningProtocol": "sigv4",
            "SigningBehavior": "always",
            "OriginAccessControlOriginType": "s3",
        }
    )["OriginAccessControl"]["Id"]
    origin = {
        "Id": "o",
        "DomainName": f"{bucket}.s3.{REGION}.amazonaws.com",
        "OriginAccessControlId": control,
        "S3OriginConfig": {"OriginAccessIdentity": ""},
    }
    made = cloudfront.create_distribution(
        DistributionConfig={
            "CallerReference": bucket,
            "Comment": "",
            "Enabled": True,
            "Origins": {"Quantity": 1, "Items": [origin]},
            "DefaultCacheBehavior": {
                "TargetOriginId": "o",
                "ViewerProtocolPolicy": "allow-all",
                "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
            },
        }
    )["Distribution"]

    def look(key: str) -> int:
        host = made["DomainName"].partition(".")[0]
        return fetch(f"http://{host}.cloudfront.localhost:{port}/{key}").status

    def let(*actions: str) -> None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "cloudfront.amazonaws.com"},
            "Action": actions,
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
            "Condition": {"StringEquals": {"AWS:SourceArn": made["ARN"]}},
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        aws("s3").put_bucket_policy(Bucket=bucket, Policy=document)

    aws("s3").put_object(Bucket=bucket, Key="there", Body=b"x")
    let("s3:GetObject")
    trail.start()
    assert (look("there"), look("missing-1")) == (200, 403)
    let("s3:GetObject", "s3:ListBucket")
    assert look("missing-2") == 404
    found = [each for each in trail.records() if each["userIdentity"]["type"] == "AWSService"]
    assert [(each["requestParameters"]["key"], each.get("errorCode")) for each in found] == [
        ("there", None),
        ("missing-1", "AccessDenied"),
        ("missing-2", "NoSuchKey"),
    ]
    assert found[0]["userIdentity"] == {"type": "AWSService", "invokedBy": "cloudfront.amazonaws.com"}
    trail.remove()


def test_a_subject_of_a_hundred_characters_or_with_a_line_break_is_refused(aws: Callable[..., Any]) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name=a_name())["TopicArn"]
    sns.publish(TopicArn=topic, Message="m", Subject="ế" * 99)
    for subject in ("s" * 100, "a\nb"):
        with pytest.raises(ClientError, match="InvalidParameter"):
            sns.publish(TopicArn=topic, Message="m", Subject=subject)
