"""CloudWatch's alarms: evaluates them regularly, also for missing data, and publishes messages in AWS's format.

Sources: CloudWatch User Guide, "Alarm evaluation", "Configuring how CloudWatch alarms treat missing data", "Alarm
evaluation window", "Using math expressions with CloudWatch metrics"; CloudWatch API reference, PutMetricAlarm.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from botocore.loaders import create_loader
from ministack.core import responses
from ministack.services import cloudwatch, lambda_svc, sns

from infra.emulator import paths
from infra.emulator.alarm_evaluation import Datapoint, evaluate, refusal

# CloudWatch evaluates every minute ("Alarm evaluation"). A shorter interval keeps tests and the demo short.
_SWEEP_SECONDS = 5
_logger = logging.getLogger("ministack")
_lock = threading.RLock()


class Alarms:
    """The alarms of the embedded AWS, and their clock.

    Arguments:
        put: MiniStack's PutMetricAlarm.
        describe: the replaced DescribeAlarms.
    """

    def __init__(self, put: Callable[..., Any], describe: Callable[..., Any]) -> None:
        self._put = put
        self._describe = describe
        self._ahead = 0.0

    def now(self) -> float:
        """Return the time of the alarms' clock in epoch seconds."""
        return time.time() + self._ahead

    def move(self, seconds: float) -> float:
        """Move the clock forward, evaluate all alarms and return the new time."""
        self._ahead += seconds
        self.evaluate_everywhere()
        return self.now()

    def put(self, params: Any, body: Any, is_cbor: bool, is_json: bool = False) -> Any:
        """Put an alarm. Keeps its math expressions, which MiniStack drops, and checks its evaluation range."""
        given = body if is_cbor or is_json else _nested(params)
        metrics = given.get("Metrics") or []
        stats = [query["MetricStat"]["Period"] for query in metrics if "MetricStat" in query]
        period = int(given.get("Period") or min(map(int, stats), default=60))
        refused = refusal(period, int(given.get("EvaluationPeriods", 1)))
        if refused:
            return cloudwatch._error("ValidationError", refused, 400, use_json=is_json, use_cbor=is_cbor)
        answer = self._put(params, body, is_cbor, is_json)
        if answer[0] == 200 and metrics:
            alarm = cloudwatch._alarms[given["AlarmName"]]
            alarm["Metrics"] = [_query(query) for query in metrics]
            self.evaluate(alarm)
        return answer

    def describe(self, *request: Any, **named: Any) -> Any:
        """Evaluate all alarms, then describe them."""
        self.evaluate_all()
        return self._describe(*request, **named)

    def evaluate_everywhere(self) -> None:
        """Evaluate the alarms of all accounts and Regions."""
        for account, region in {scope[:2] for scope in list(cloudwatch._alarms._data)}:
            with responses.request_scope(account, region):
                self.evaluate_all()

    def evaluate_all(self) -> None:
        """Evaluate the alarms of the request's account and Region."""
        for alarm in list(cloudwatch._alarms.values()):
            self.evaluate(alarm)

    def evaluate(self, alarm: dict[str, Any]) -> None:
        """Evaluate an alarm, and perform its actions if its state changes."""
        if not alarm.get("MetricName") and not alarm.get("Metrics"):
            return
        with _lock:
            try:
                verdict = evaluate(alarm, _find, self.now())
            except ValueError:
                _logger.exception("CloudWatch: an alarm cannot be evaluated")
                return
            old = alarm["StateValue"]
            if verdict.state == old:
                return
            alarm |= {
                "StateValue": verdict.state,
                "StateReason": verdict.reason,
                "StateUpdatedTimestamp": int(self.now()),
            }
            name = alarm["AlarmName"]
            cloudwatch._record_history(name, old, verdict.state, verdict.reason)
            self.act(alarm, old, verdict.state, verdict.reason)
            cloudwatch._evaluate_parent_alarms(alarm)

    def act(self, alarm: dict[str, Any], old: str, new: str, reason: str) -> None:
        """Publish a change of state to the alarm's topics, if their policies allow it."""
        if not alarm.get("ActionsEnabled", True):
            return
        field = {"ALARM": "AlarmActions", "OK": "OKActions"}.get(new, "InsufficientDataActions")
        for topic in filter(cloudwatch._is_sns_action_arn, alarm.get(field) or ()):
            account = responses.get_account_id()
            if not sns.topic_policy_allows(topic, "cloudwatch.amazonaws.com", alarm["AlarmArn"], account):
                _logger.warning("CloudWatch may not publish to %s", topic)
                continue
            region = _region_name(responses.get_region())
            text = json.dumps(message(alarm, old, new, reason, self.now(), region, account))
            subject = f'{new}: "{alarm["AlarmName"]}" in {region}'[:100]
            sns._fanout(topic, responses.new_uuid(), text, subject)

    def sweep(self) -> None:
        """Evaluate all alarms repeatedly until the process ends."""
        while True:
            time.sleep(_SWEEP_SECONDS)
            try:
                self.evaluate_everywhere()
            except Exception:
                _logger.exception("CloudWatch: the alarms were not evaluated")


def message(
    alarm: Mapping[str, Any], old: str, new: str, reason: str, now: float, region: str, account: str
) -> dict[str, Any]:
    """Return the message that CloudWatch publishes to a topic. Its names differ from those of DescribeAlarms."""
    trigger = {
        "MetricName": alarm.get("MetricName"),
        "Namespace": alarm.get("Namespace"),
        "StatisticType": "Statistic",
        "Statistic": str(alarm.get("Statistic", "")).upper(),
        "Unit": alarm.get("Unit"),
        "Dimensions": [{"value": one["Value"], "name": one["Name"]} for one in alarm.get("Dimensions") or ()],
    }
    return {
        "AlarmName": alarm["AlarmName"],
        "AlarmDescription": alarm.get("AlarmDescription"),
        "AWSAccountId": account,
        "AlarmConfigurationUpdatedTimestamp": _stamp(alarm.get("AlarmConfigurationUpdatedTimestamp", now)),
        "NewStateValue": new,
        "NewStateReason": reason,
        "StateChangeTime": _stamp(now),
        "Region": region,
        "AlarmArn": alarm["AlarmArn"],
        "OldStateValue": old,
        "OKActions": alarm.get("OKActions") or [],
        "AlarmActions": alarm.get("AlarmActions") or [],
        "InsufficientDataActions": alarm.get("InsufficientDataActions") or [],
        "Trigger": ({"Metrics": alarm["Metrics"]} if alarm.get("Metrics") else trigger)
        | {
            "Period": alarm.get("Period"),
            "EvaluationPeriods": alarm["EvaluationPeriods"],
            "DatapointsToAlarm": alarm.get("DatapointsToAlarm"),
            "ComparisonOperator": alarm["ComparisonOperator"],
            "Threshold": alarm["Threshold"],
            "TreatMissingData": alarm.get("TreatMissingData"),
            "EvaluateLowSampleCountPercentile": "",
        },
    }


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000"


@cache
def _region_name(region: str) -> str:
    [partition, *_] = create_loader().load_data("endpoints")["partitions"]
    return str(partition["regions"].get(region, {}).get("description", region))


def _find(namespace: str, name: str, dimensions: Mapping[str, str]) -> Iterable[Datapoint]:
    points = cloudwatch._metrics.get((namespace, name, cloudwatch._dims_key(dict(dimensions)))) or ()
    for point in list(points):
        count, total, low, high = cloudwatch._point_stats(point)
        if count:
            yield Datapoint(point["Timestamp"], count, total, low, high)


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request of the query protocol as nested values."""
    root: dict[str, Any] = {}
    for key, value in params.items():
        *parents, last = key.split(".")
        place = root
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value[0] if isinstance(value, list) else value
    found: dict[str, Any] = _lists(root)
    return found


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value.keys() == {"member"}:
        return [_lists(value["member"][number]) for number in sorted(value["member"], key=int)]
    return {name: _lists(inner) for name, inner in value.items()}


def _query(query: Mapping[str, Any]) -> dict[str, Any]:
    """Return a metric query with typed values. The query protocol sends them as texts."""
    found = dict(query) | {"ReturnData": query.get("ReturnData", True) in (True, "true")}
    if "MetricStat" in found:
        found["MetricStat"] = dict(found["MetricStat"]) | {"Period": int(found["MetricStat"]["Period"])}
    return found


def emit_lambda_metrics(
    emit: Callable[..., None], function_name: str, duration_ms: float, error: bool, throttle: bool
) -> None:
    """Publish a function's metrics, and the metrics of all functions together, which have no dimensions.

    Source: Lambda Developer Guide, "Types of metrics for Lambda functions": the view across all functions.
    """
    emit(function_name, duration_ms, error, throttle)
    counts = {"Invocations": 1, "Errors": int(error), "Throttles": int(throttle)}
    for metric, count in counts.items():
        cloudwatch.record_metric("AWS/Lambda", metric, count, "Count", {})
    if duration_ms > 0:
        cloudwatch.record_metric("AWS/Lambda", "Duration", duration_ms, "Milliseconds", {})


def install() -> None:
    """Evaluate MiniStack's alarms like CloudWatch. Call this after all other modules that change its CloudWatch."""
    alarms = Alarms(cloudwatch._put_metric_alarm, cloudwatch._describe_alarms)
    cloudwatch._evaluate_alarm = alarms.evaluate
    cloudwatch._dispatch_alarm_actions = alarms.act
    cloudwatch._put_metric_alarm = alarms.put
    cloudwatch._describe_alarms = alarms.describe
    lambda_svc._emit_lambda_metrics = partial(emit_lambda_metrics, lambda_svc._emit_lambda_metrics)
    paths.add("alarms/clock", lambda request: {"Now": alarms.move(request["Seconds"])})
    threading.Thread(target=alarms.sweep, name="alarms", daemon=True).start()
