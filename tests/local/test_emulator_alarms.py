"""CloudWatch's alarms on a bare emulator: it evaluates them and sends notifications in AWS's form."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ops.local import aws
from ops.local.emulator import Emulator
from tests.local.aws import wait_for
from tests.ports import free_port

REGION = "ap-southeast-1"


class Bench:
    """A topic with a queue behind it, and the alarms that publish to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cloudwatch = aws.client("cloudwatch", port, REGION)
        self.sns, self.sqs = (aws.client(name, port, REGION) for name in ("sns", "sqs"))

    def topic(self, name: str, allowed: bool = True) -> tuple[str, str]:
        topic = self.sns.create_topic(Name=name)["TopicArn"]
        service = "cloudwatch.amazonaws.com" if allowed else "events.amazonaws.com"
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": service},
            "Action": "sns:Publish",
            "Resource": topic,
            "Condition": {"StringEquals": {"aws:SourceAccount": topic.split(":")[4]}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
        queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        statement = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement | {"Resource": arn}]})
        self.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        self.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return topic, queue

    def alarm(self, name: str, **given: Any) -> None:
        usual: dict[str, Any] = {
            "Namespace": "Test",
            "MetricName": name,
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
        }
        self.cloudwatch.put_metric_alarm(AlarmName=name, **{**usual, **given})

    def put(self, name: str, value: float, **dimensions: str) -> None:
        """Put a value at the time of the alarms' clock, which earlier tests have moved."""
        given = [{"Name": key, "Value": found} for key, found in dimensions.items()]
        datum = {"MetricName": name, "Value": value, "Dimensions": given, "Timestamp": self.move(0)}
        self.cloudwatch.put_metric_data(Namespace="Test", MetricData=[datum])

    def move(self, seconds: float) -> float:
        body = json.dumps({"Seconds": seconds}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/_rollbook/alarms/clock", body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return float(json.load(answer)["Now"])

    def state(self, name: str) -> str:
        [found] = self.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
        return str(found["StateValue"])

    def messages(self, queue: str) -> list[dict[str, Any]]:
        found = self.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(each["Body"]) for each in found]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder: Path = tmp_path_factory.mktemp("alarms")
    emulator = Emulator(folder, free_port())
    emulator.start()
    try:
        yield Bench(emulator.port)
    finally:
        emulator.stop()


def test_silence_sets_off_a_dead_mans_alarm_and_its_topic_is_told_once(bench: Bench) -> None:
    topic, queue = bench.topic("dead-man")
    bench.put("Done", 1, Table="studentData")
    bench.move(60)
    bench.alarm(
        "silent",
        MetricName="Done",
        Dimensions=[{"Name": "Table", "Value": "studentData"}],
        Period=3600,
        EvaluationPeriods=29,
        DatapointsToAlarm=29,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="breaching",
        AlarmDescription="No backup came.",
        AlarmActions=[topic],
        OKActions=[topic],
    )
    assert bench.state("silent") == "OK"
    [told] = wait_for(lambda: bench.messages(queue), 10)
    assert json.loads(told["Message"])["NewStateValue"] == "OK"
    bench.move(28 * 3600)
    assert bench.state("silent") == "OK"
    now = bench.move(4 * 3600)
    assert bench.state("silent") == "ALARM"
    [told] = wait_for(lambda: bench.messages(queue), 10)
    assert told["Subject"] == 'ALARM: "silent" in Asia Pacific (Singapore)'
    said = json.loads(told["Message"])
    assert said["Trigger"]["Dimensions"] == [{"value": "studentData", "name": "Table"}]
    assert said["Trigger"]["Statistic"] == "SUM"
    assert (said["OldStateValue"], said["NewStateValue"], said["AlarmName"]) == ("OK", "ALARM", "silent")
    assert said["Region"] == "Asia Pacific (Singapore)"
    at = datetime.strptime(said["StateChangeTime"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    assert at == pytest.approx(now, abs=5)
    bench.move(3600)
    assert bench.messages(queue) == []


def test_another_dimension_raises_no_alarm(bench: Bench) -> None:
    bench.alarm("mine", Dimensions=[{"Name": "Table", "Value": "mine"}])
    bench.put("mine", 9, Table="other")
    bench.move(60)
    assert bench.state("mine") == "OK"
    bench.put("mine", 9, Table="mine")
    bench.move(120)
    assert bench.state("mine") == "ALARM"


def test_an_alarm_is_evaluated_without_being_asked(bench: Bench) -> None:
    topic, queue = bench.topic("unasked")
    bench.alarm("unasked", ActionsEnabled=False)
    bench.put("unasked", 1)
    bench.move(90)
    bench.state("unasked")
    bench.alarm("unasked", AlarmActions=[topic], OKActions=[topic])
    bench.cloudwatch.set_alarm_state(AlarmName="unasked", StateValue="INSUFFICIENT_DATA", StateReason="test")
    began = time.monotonic()
    assert wait_for(lambda: bench.messages(queue), 20)
    assert time.monotonic() - began < 20


def test_a_topic_whose_policy_leaves_cloudwatch_out_is_told_nothing(bench: Bench) -> None:
    topic, queue = bench.topic("closed", allowed=False)
    bench.alarm("closed", AlarmActions=[topic], OKActions=[topic])
    bench.put("closed", 1)
    bench.move(120)
    assert bench.state("closed") == "ALARM"
    assert bench.messages(queue) == []


def test_an_alarm_on_math_is_evaluated(bench: Bench) -> None:
    stat = {"Metric": {"Namespace": "Test", "MetricName": "Bad"}, "Stat": "Sum", "Period": 60}
    bench.cloudwatch.put_metric_alarm(
        AlarmName="math",
        Metrics=[
            {"Id": "bad", "MetricStat": stat, "ReturnData": False},
            {"Id": "twice", "Expression": "2 * FILL(bad, 0)", "ReturnData": True},
        ],
        EvaluationPeriods=1,
        Threshold=4,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    assert bench.state("math") == "OK"
    bench.put("Bad", 2)
    bench.move(60)
    assert bench.state("math") == "ALARM"


def test_an_alarm_that_looks_back_too_far_is_refused(bench: Bench) -> None:
    with pytest.raises(ClientError, match="604800 seconds"):
        bench.alarm("far", Period=3600, EvaluationPeriods=169)
