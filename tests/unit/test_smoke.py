"""The smoke test: its clean-up, and the alarms that it reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from infra.settings import ENVIRONMENTS, load
from ops.cloud import Cloud
from ops.smoke import alarms
from ops.smoke import run as smoke
from ops.smoke.failure import StepFailed
from tests.conftest import Stacks
from tests.unit.aws import create_tables

SETTINGS = load(ENVIRONMENTS / "local.toml")
TOPIC = f"arn:aws:sns:ap-southeast-1:123456789012:{SETTINGS.alerts.topic_name}"


@pytest.fixture
def test_run(stacks: Stacks) -> Any:
    with mock_aws():
        create_tables(stacks)
        yield smoke.Smoke(Cloud(SETTINGS, dict.fromkeys(("api_url", "site_url", "api_key_id"), "")), patience=1)


def put_alarm(**changes: Any) -> None:
    dead_man = {
        "AlarmName": "studentData-no-backup",
        "Namespace": "Rollbook",
        "MetricName": "BackupsCompleted",
        "Dimensions": [{"Name": "Table", "Value": "studentData"}],
        "Statistic": "Sum",
        "Period": 3600,
        "EvaluationPeriods": 28,
        "Threshold": 1,
        "ComparisonOperator": "LessThanThreshold",
        "TreatMissingData": "breaching",
        "AlarmActions": [TOPIC],
    }
    boto3.client("cloudwatch").put_metric_alarm(**dead_man | changes)


def raise_alarm() -> None:
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName="studentData-no-backup", StateValue="ALARM", StateReason="silence"
    )


def succeed(days_ago: int) -> None:
    point = {
        "MetricName": "BackupsCompleted",
        "Dimensions": [{"Name": "Table", "Value": "studentData"}],
        "Timestamp": datetime.now(UTC) - timedelta(days=days_ago),
        "Value": 1,
    }
    boto3.client("cloudwatch").put_metric_data(Namespace="Rollbook", MetricData=[point])


def test_an_alarm_that_the_backup_of_this_run_cleared_is_reported(test_run: smoke.Smoke) -> None:
    put_alarm()
    raise_alarm()
    succeed(days_ago=3)
    test_run._raised_before = alarms.raised(test_run.cloud)
    boto3.client("cloudwatch").set_alarm_state(AlarmName="studentData-no-backup", StateValue="OK", StateReason="backup")
    with pytest.raises(StepFailed, match="studentData-no-backup"):
        test_run.alarms()


def test_an_alarm_with_earlier_data_does_not_wait_for_a_first_success(test_run: smoke.Smoke) -> None:
    put_alarm()
    raise_alarm()
    assert "raised until their first success" in test_run.alarms()
    succeed(days_ago=60)
    with pytest.raises(StepFailed, match="silence"):
        test_run.alarms()


def test_an_alarm_with_disabled_actions_is_reported(test_run: smoke.Smoke) -> None:
    put_alarm(ActionsEnabled=False)
    with pytest.raises(StepFailed, match="disabled: studentData-no-backup"):
        test_run.alarms()


def test_the_record_is_deleted_before_the_backup(test_run: smoke.Smoke, monkeypatch: pytest.MonkeyPatch) -> None:
    table, key = SETTINGS.records.table_name, {"studentid": {"S": test_run.studentid}}
    dynamodb = boto3.client("dynamodb")
    dynamodb.put_item(TableName=table, Item=key)
    test_run._is_saved = True
    there = []

    def invoke(*_: Any) -> dict[str, Any]:
        there.append("Item" in dynamodb.get_item(TableName=table, Key=key))
        return {"key": "k", "items": 0}

    monkeypatch.setattr(smoke, "invoke", invoke)
    test_run.backup()
    assert there == [False], "a restore of this backup would bring the made-up student back"
    test_run.clean()
    assert [what for what in test_run.left if "record" in what] == []
