"""The alarms of the stack and the metrics behind them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ops.cloud import Cloud
from ops.smoke.failure import StepFailed

# CloudWatch keeps data by the hour for 455 days (API Reference, GetMetricStatistics).
_HISTORY = timedelta(days=455)


def raised(cloud: Cloud) -> list[dict[str, Any]]:
    """Return the alarms of the stack that are raised now; none without monitoring."""
    if not cloud.settings.monitoring.enabled:
        return []
    return [alarm for alarm in _all(cloud) if alarm["StateValue"] == "ALARM"]


def check(cloud: Cloud, raised_before: list[dict[str, Any]], began: datetime) -> str:
    """Check that no alarm is raised by a fault, and return what was found.

    Alarms that wait for a first success may be raised.

    Arguments:
        raised_before: the alarms that were raised before the smoke test.
        began: start of the smoke test (aware).

    Raises:
        StepFailed: an alarm is raised, or its actions are disabled, or there is none.
    """
    if not cloud.settings.monitoring.enabled:
        return "monitoring is off"
    ours = _all(cloud)
    if not ours:
        raise StepFailed(f"no alarm notifies the topic {cloud.settings.alerts.topic_name}")
    now = [alarm for alarm in ours if alarm["StateValue"] == "ALARM"]
    found = list({alarm["AlarmName"]: alarm for alarm in [*raised_before, *now]}.values())
    waiting = [alarm for alarm in found if _waits_for_first_success(cloud, alarm, began)]
    wrong = [alarm for alarm in found if alarm not in waiting]
    if wrong:
        raise StepFailed("; ".join(f"{alarm['AlarmName']}: {alarm.get('StateReason', '')}" for alarm in wrong))
    if muted := [alarm["AlarmName"] for alarm in ours if not alarm.get("ActionsEnabled", True)]:
        raise StepFailed(f"the actions of these alarms are disabled: {', '.join(muted)}")
    names = ", ".join(alarm["AlarmName"] for alarm in waiting)
    note = f"; these are raised until their first success or measurement: {names}" if names else ""
    return f"{len(ours)} alarms, none is raised by a fault{note}"


def datapoints(
    cloud: Cloud,
    namespace: str,
    name: str,
    dimensions: list[dict[str, str]],
    began: datetime,
    *,
    before: bool = False,
) -> list[dict[str, Any]]:
    """Return the data of a metric since `began`, or from the time before it."""
    # CloudWatch stores the data of a minute under the begin of the minute.
    begin = began.replace(second=0, microsecond=0)
    start, end = (begin - _HISTORY, begin) if before else (begin, datetime.now(UTC) + timedelta(minutes=1))
    found = cloud.client("cloudwatch").get_metric_statistics(
        Namespace=namespace,
        MetricName=name,
        Dimensions=dimensions,
        StartTime=start,
        EndTime=end,
        Period=86_400 if before else 60,
        Statistics=["Sum"],
    )
    return list(found["Datapoints"])


def _all(cloud: Cloud) -> list[dict[str, Any]]:
    topic = f":{cloud.settings.alerts.topic_name}"
    pages = cloud.client("cloudwatch").get_paginator("describe_alarms").paginate()
    return [
        alarm
        for page in pages
        for alarm in page["MetricAlarms"]
        if any(action.endswith(topic) for action in alarm.get("AlarmActions", []))
    ]


def _waits_for_first_success(cloud: Cloud, alarm: dict[str, Any], began: datetime) -> bool:
    """Return whether only missing data raises an alarm, and there was no data before this run."""
    if alarm.get("TreatMissingData") != "breaching" or "MetricName" not in alarm:
        return False
    return not datapoints(cloud, alarm["Namespace"], alarm["MetricName"], alarm["Dimensions"], began, before=True)
