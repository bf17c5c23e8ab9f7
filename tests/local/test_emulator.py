"""What the embedded AWS adds to MiniStack, on a bare process: docs/emulator.md names the rules and their sources."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

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
    """Make a function from the text of its module and return its ARN."""
    import io
    import zipfile

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("module.py", code)
    role = a_name()
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role_arn = aws("iam").create_role(RoleName=role, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    logs = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [logs]})
    aws("iam").put_role_policy(RoleName=role, PolicyName="logs", PolicyDocument=document)
    made = aws("lambda").create_function(
        FunctionName=a_name(),
        Runtime="python3.11",
        Role=role_arn,
        Handler="module.handler",
        Code={"ZipFile": packed.getvalue()},
    )
    return str(made["FunctionArn"])
