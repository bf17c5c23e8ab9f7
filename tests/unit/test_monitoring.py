"""What the backup measures is what the dead-man's alarm looks at, and silence sets it off."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import boto3
import pytest

from rollbook.engine import backup as run
from tests.conftest import Stacks
from tests.unit.engine import JOB, MIDNIGHT, PLACES, ZONE, Clock, Mail, backup_of, put, soon

HOUR = timedelta(hours=1)


def publish(log: str, moment: datetime) -> None:
    """Put the metrics that are embedded in a log, as CloudWatch does with Lambda's."""
    for line in log.splitlines():
        if not line.startswith('{"_aws"'):
            continue
        record = json.loads(line)
        [directive] = record["_aws"]["CloudWatchMetrics"]
        boto3.client("cloudwatch").put_metric_data(
            Namespace=directive["Namespace"],
            MetricData=[
                {
                    "MetricName": metric["Name"],
                    "Timestamp": moment,
                    "Value": record[metric["Name"]][0],
                    "Dimensions": [{"Name": name, "Value": record[name]} for name in directive["Dimensions"][0]],
                }
                for metric in directive["Metrics"]
            ],
        )


def is_in_alarm(alarm: dict[str, Any], now: datetime) -> bool:
    """Evaluate an alarm as CloudWatch does: every period of its range bad, one without data among them."""
    begin = now - timedelta(seconds=alarm["period"] * alarm["evaluation_periods"])
    found = boto3.client("cloudwatch").get_metric_statistics(
        Namespace=alarm["namespace"],
        MetricName=alarm["metric_name"],
        Dimensions=[{"Name": name, "Value": value} for name, value in alarm["dimensions"].items()],
        StartTime=begin,
        EndTime=now,
        Period=alarm["period"],
        Statistics=[alarm["statistic"]],
    )["Datapoints"]
    good = [point for point in found if point[alarm["statistic"]] >= alarm["threshold"]]
    assert alarm["treat_missing_data"] == "breaching"
    return alarm["evaluation_periods"] - len(good) >= alarm["datapoints_to_alarm"]


def test_a_schedule_that_is_switched_off_sets_off_the_dead_mans_alarm(
    stacks: Stacks, aws: None, mail: Mail, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = stacks.resources("workshop", "aws_cloudwatch_metric_alarm").values()
    [alarm] = [each for each in alarms if each["alarm_name"] == "studentData-no-backup"]
    put(SV001={"name": {"S": "An"}})
    backup = backup_of(JOB, mail, clock)
    for day in range(3):
        # As late as the flexible window lets it be, and a little.
        moment = MIDNIGHT + timedelta(days=day, minutes=5 * (day % 2), seconds=3)
        clock.now = moment
        backup.run(run.scheduled(JOB, ZONE, MIDNIGHT + timedelta(days=day)), holder="1", deadline=soon())
        publish(capsys.readouterr().out, moment)
        for hours in range(1, 24):
            assert not is_in_alarm(alarm, moment.replace(minute=0, second=0) + hours * HOUR)
    last = MIDNIGHT + timedelta(days=2)
    assert not is_in_alarm(alarm, last + 28 * HOUR)
    assert is_in_alarm(alarm, last + 29 * HOUR)


def test_a_failed_backup_measures_its_failure_and_no_success(
    aws: None, backup: run.Backup, capsys: pytest.CaptureFixture[str]
) -> None:
    boto3.client("s3").delete_bucket(Bucket=PLACES.s3_bucket_name)
    with pytest.raises(Exception, match="NoSuchBucket"):
        backup.run(run.scheduled(JOB, ZONE, MIDNIGHT), holder="1", deadline=soon())
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith('{"_aws"')]
    record = json.loads(line)
    assert (record["Table"], record["BackupsFailed"]) == ("studentData", [1.0])
    assert "BackupsCompleted" not in record


def test_a_weekly_drill_in_its_window_sets_off_no_alarm_and_a_missed_one_does(stacks: Stacks, aws: None) -> None:
    """Drills of 7 days, a quarter of an hour early and late by turns, beside ages that are measured every 6 hours."""
    alarms = stacks.resources("workshop", "aws_cloudwatch_metric_alarm").values()
    [alarm] = [each for each in alarms if each["alarm_name"] == "studentData-no-drill"]
    assert (alarm["metric_name"], alarm["period"], alarm["evaluation_periods"]) == ("DrillAgeSeconds", 6 * 3600, 2)
    assert alarm["comparison_operator"] == "GreaterThanOrEqualToThreshold"
    assert alarm["treat_missing_data"] == "breaching"
    week = timedelta(days=7)
    drills = [MIDNIGHT + number * week + timedelta(minutes=15 * (number % 2)) for number in range(4)]

    def is_bad(moment: datetime) -> bool:
        age = moment - max(drill for drill in drills if drill <= moment)
        return age.total_seconds() >= alarm["threshold"]

    measured = [MIDNIGHT + number * 6 * HOUR for number in range(1, 6 * 28)]
    last = drills[-1]
    bad = [moment for moment in measured if is_bad(moment)]
    assert min(bad) - last >= week + 3 * HOUR, "an alarm between two good drills"
    assert min(bad) - last <= week + 10 * HOUR, "a missed drill is told within two measurements"
