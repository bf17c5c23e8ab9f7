"""EventBridge and SNS on a bare emulator: whose policy lets an event through, and with which condition keys."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import Stacks
from tests.local.bare import (
    ACCOUNT,
    REGION,
    Bus,
    Clients,
    a_function,
    a_name,
    allow,
    eventually,
)


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


def with_arns(document: str, **arns: str) -> str:
    """Put ARNs where Terraform does, by resource type."""
    for kind, arn in arns.items():
        document = re.sub(rf"\$\{{{kind}\.[\w-]+\.arn}}", arn, document)
    return document


@pytest.mark.parametrize("environment", ["local", "production"])
def test_each_synthesized_log_policy_lets_events_reach_their_log_group(
    aws: Clients, stacks: Stacks, environment: str
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
    aws: Clients,
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


def test_a_queue_takes_a_rules_events_only_if_its_policy_lets_that_rule(aws: Clients) -> None:
    bus = Bus(aws)
    silent, other = bus.queue([]), bus.queue([allow("sqs:SendMessage", "arn:aws:events:x:1:rule/other")])
    open_ = bus.queue([allow("sqs:SendMessage", bus.rule_arn)])
    refused = {bus.deliver(silent), bus.deliver(other)}
    delivered = bus.deliver(open_)
    assert set(bus.undelivered()) == refused
    assert [json.loads(found["Body"])["id"] for found in bus.read(open_)] == [delivered]
    assert bus.read(silent) == bus.read(other) == []


def test_a_topic_that_names_the_rule_in_a_condition_gets_no_events(aws: Clients) -> None:
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
def test_the_synthesized_topic_policies_let_their_rules_publish(aws: Clients, stacks: Stacks, environment: str) -> None:
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


def test_a_function_takes_a_rules_events_only_if_its_policy_lets_that_rule(aws: Clients) -> None:
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


def test_an_event_of_a_rule_is_tried_again_when_the_function_fails(aws: Clients) -> None:
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


def test_a_bus_takes_a_whole_policy(aws: Clients) -> None:
    events, name = aws("events"), a_name()
    events.create_event_bus(Name=name)
    statement = {"Sid": "x", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "events:PutEvents"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    events.put_permission(EventBusName=name, Policy=json.dumps(document))
    assert json.loads(events.describe_event_bus(Name=name)["Policy"]) == document


def test_a_subject_of_a_hundred_characters_or_with_a_line_break_is_refused(aws: Clients) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name=a_name())["TopicArn"]
    sns.publish(TopicArn=topic, Message="m", Subject="ế" * 99)
    for subject in ("s" * 100, "a\nb"):
        with pytest.raises(ClientError, match="InvalidParameter"):
            sns.publish(TopicArn=topic, Message="m", Subject=subject)
