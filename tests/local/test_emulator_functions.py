"""Lambda and EventBridge Scheduler on a bare emulator: roles, dead letters, and metrics in logs."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from ops.cloud import fetch
from tests.local.bare import (
    REGION,
    Bus,
    Clients,
    a_function,
    a_name,
    allowed,
    create_function,
    eventually,
    logged,
    of_role,
)


@pytest.fixture
def aws(bare_port: int) -> Clients:
    return Clients(bare_port)


def test_a_schedule_acts_with_its_role_and_fills_in_what_it_is(aws: Clients) -> None:
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
    aws: Clients,
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


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ("ValueError('no')", "ValueError"),
        ("Custom('a: b\\nsecond line')", "Custom"),
        ("Custom()", "Custom"),
    ],
)
def test_a_failed_function_names_the_class_of_its_exception(aws: Clients, raised: str, expected: str) -> None:
    role = of_role(aws, trusted={"Service": "lambda.amazonaws.com"})
    code = f"class Custom(RuntimeError):\n    pass\n\ndef handler(event, context):\n    raise {raised}\n"
    answer = aws("lambda").invoke(FunctionName=create_function(aws, role, code), Payload=b"{}")
    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorType"] == expected


def test_metrics_in_a_functions_log_are_put(aws: Clients) -> None:
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

    def points() -> list[tuple[float, float]]:
        answer = aws("cloudwatch").get_metric_statistics(
            Namespace=space,
            MetricName="items",
            Dimensions=[{"Name": "table", "Value": "t"}],
            StartTime=now - timedelta(minutes=5),
            EndTime=now + timedelta(minutes=5),
            Period=3600,
            Statistics=["Sum", "SampleCount"],
        )
        return [(point["Sum"], point["SampleCount"]) for point in answer["Datapoints"]]

    # Lambda's log may come after the answer.
    assert eventually(points) == [(5, 2)]


def test_an_alarm_is_described_in_full_in_the_query_protocol(aws: Clients, bare_port: int) -> None:
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
        f"http://127.0.0.1:{bare_port}/",
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


def test_events_answers_and_variables_that_are_too_large_are_refused(aws: Clients) -> None:
    functions = aws("lambda")
    function = a_function(aws, "def handler(event, context):\n    return 'a' * event['bytes']\n")
    for kind, bytes_ in (("Event", 2**20), ("RequestResponse", 6 * 2**20 + 200)):
        with pytest.raises(ClientError, match="RequestTooLargeException"):
            functions.invoke(FunctionName=function, InvocationType=kind, Payload=json.dumps("a" * bytes_))
    answer = functions.invoke(FunctionName=function, Payload=json.dumps({"bytes": 6 * 2**20}))
    assert "FunctionError" not in answer
    answer = functions.invoke(FunctionName=function, Payload=json.dumps({"bytes": 6 * 2**20 + 200}))
    assert json.load(answer["Payload"])["errorType"] == "Function.ResponseSizeTooLarge"
    assert answer["FunctionError"] == "Unhandled"
    functions.update_function_configuration(FunctionName=function, Environment={"Variables": {"A": "a" * 4000}})
    with pytest.raises(ClientError, match="exceeded the 4KB limit"):
        functions.update_function_configuration(FunctionName=function, Environment={"Variables": {"A": "a" * 4096}})
