"""CloudWatch's alarms: evaluated on time and on missing data, with messages of AWS's form.

Sources: CloudWatch User Guide, "Alarm evaluation", "Configuring how CloudWatch alarms treat missing data", "Alarm
evaluation window", "Using math expressions with CloudWatch metrics"; CloudWatch API reference, PutMetricAlarm.
"""

from __future__ import annotations

import ast
import json
import logging
import operator
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any

from botocore.loaders import create_loader
from ministack.core import responses
from ministack.services import cloudwatch, lambda_svc, sns

from infra.emulator import paths

# CloudWatch evaluates every minute ("Alarm evaluation"); a shorter time keeps tests and the demo short.
_SWEEP_SECONDS = 5
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
# CloudWatch looks further back than the evaluation periods, by how much it does not say. In all its examples it is 2.
_EXTRA_PERIODS = 2
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_logger = logging.getLogger("ministack")
_lock = threading.RLock()

Series = list[float | None]


@dataclass(frozen=True)
class Datapoint:
    """What one or more published values of a metric come to.

    Arguments:
        at: epoch seconds.
        sample_count, total, minimum, maximum: of the values.
    """

    at: float
    sample_count: float
    total: float
    minimum: float
    maximum: float

    @classmethod
    def of(cls, at: float, value: float) -> Datapoint:
        """Return a single value."""
        return cls(at, 1, value, value, value)


# A metric's namespace, name and dimensions to its datapoints.
Find = Callable[[str, str, Mapping[str, str]], Iterable[Datapoint]]


@dataclass(frozen=True)
class Verdict:
    """An alarm's state, why, and the datapoints that were looked at, oldest first."""

    state: str
    reason: str
    recent: tuple[float, ...]


def evaluate(alarm: Mapping[str, Any], find: Find, now: float) -> Verdict:
    """Return the state of an alarm.

    Arguments:
        alarm: as DescribeAlarms gives it.
        find: gives the datapoints of one metric with exactly these dimensions.
        now: epoch seconds.

    Raises:
        ValueError: the alarm uses a statistic, a comparison or a function that is not known here.
    """
    periods = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm")
    series = _series(alarm, find, now, periods + _EXTRA_PERIODS)
    compare = _OPERATORS.get(alarm["ComparisonOperator"])
    if compare is None:
        raise ValueError(f"{alarm['AlarmName']}: the comparison {alarm['ComparisonOperator']} is not known")
    breaching = [None if value is None else compare(value, alarm["Threshold"]) for value in series]
    missing = "ignore" if alarm.get("Namespace") == "AWS/DynamoDB" else alarm.get("TreatMissingData") or "missing"
    state = state_of(
        breaching, periods, periods if needed is None else needed, missing, alarm.get("StateValue", "INSUFFICIENT_DATA")
    )
    recent = tuple(value for value in series if value is not None)[-periods:]
    return Verdict(state, _reason(alarm, recent, state, missing), recent)


def state_of(breaching: Sequence[bool | None], periods: int, needed: int, missing: str, current: str) -> str:
    """Return the state that datapoints make.

    Arguments:
        breaching: for each datapoint of the evaluation range, oldest first, whether it breaches; None where it is
            missing.
        periods, needed: N and M of "M out of N".
        missing: what missing data is treated as.
        current: the alarm's state, kept where missing data is ignored.
    """
    real = [each for each in breaching if each is not None]
    if len(real) >= periods:
        return "ALARM" if sum(real[-periods:]) >= needed else "OK"
    filled = periods - len(real) if missing == "breaching" else 0
    if sum(real) + filled >= needed:
        return "ALARM"
    if missing in {"breaching", "notBreaching"}:
        return "OK"
    if not real:
        return current if missing == "ignore" else "INSUFFICIENT_DATA"
    # "Avoiding premature transitions": all that there is breaches, and the oldest is at least as old as M.
    window = list(breaching[-periods:])
    oldest = len(window) - window.index(True) if True in window else 0
    if all(real) and oldest >= needed:
        return current if missing == "ignore" else "ALARM"
    return "OK"


def _series(alarm: Mapping[str, Any], find: Find, now: float, count: int) -> Series:
    """Return the last values that an alarm watches, oldest first."""
    if not alarm.get("Metrics"):
        dimensions = {each["Name"]: each["Value"] for each in alarm.get("Dimensions") or ()}
        found = find(alarm["Namespace"], alarm["MetricName"], dimensions)
        return _values(found, alarm["Statistic"], alarm["Period"], now, count)
    known: dict[str, Series] = {}
    expressions = {each["Id"]: each["Expression"] for each in alarm["Metrics"] if each.get("Expression")}
    for query in alarm["Metrics"]:
        if "MetricStat" in query:
            stat, metric = query["MetricStat"], query["MetricStat"]["Metric"]
            dimensions = {each["Name"]: each["Value"] for each in metric.get("Dimensions") or ()}
            found = find(metric["Namespace"], metric["MetricName"], dimensions)
            known[query["Id"]] = _values(found, stat["Stat"], stat["Period"], now, count)
    [wanted] = [query["Id"] for query in alarm["Metrics"] if query.get("ReturnData", True)]

    def of(name: str) -> Series:
        if name not in known:
            known[name] = _computed(ast.parse(expressions[name], mode="eval").body, of, count)
        return known[name]

    return of(wanted)


def _computed(node: ast.expr, of: Callable[[str], Series], count: int) -> Series:
    """Return what a math expression comes to: arithmetic and FILL."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return [float(number)] * count
        case ast.Name(id=name):
            return of(name)
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _ARITHMETIC:
            do = _ARITHMETIC[type(kind)]
            pairs = zip(_computed(left, of, count), _computed(right, of, count), strict=True)
            return [_combined(do, one, other) for one, other in pairs]
        case ast.Call(func=ast.Name(id="FILL"), args=[inner, ast.Constant(value=int() | float() as number)]):
            return [float(number) if value is None else value for value in _computed(inner, of, count)]
    raise ValueError(f"the math expression {ast.unparse(node)} is not known")


def _combined(do: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    # A datapoint that is missing on one side, and a division by zero, give no datapoint.
    if one is None or other is None or (do is operator.truediv and other == 0):
        return None
    return do(one, other)


def _values(found: Iterable[Datapoint], statistic: str, period: int, now: float, count: int) -> Series:
    """Return a metric's statistic in the last periods. The window slides by the minute ("Alarm evaluation window")."""
    step = min(period, _MINUTE)
    end = now // step * step
    slots: list[list[Datapoint]] = [[] for _ in range(count)]
    for point in found:
        number = int((end - point.at) // period) if point.at < end else -1
        # A datapoint at a border belongs to the period that it begins.
        if point.at < end and (end - point.at) % period == 0:
            number -= 1
        if 0 <= number < count:
            slots[count - 1 - number].append(point)
    return [_statistic(points, statistic) if points else None for points in slots]


def _statistic(points: Sequence[Datapoint], name: str) -> float:
    samples, total = sum(point.sample_count for point in points), sum(point.total for point in points)
    known: dict[str, Callable[[], float]] = {
        "Sum": lambda: total,
        "SampleCount": lambda: samples,
        "Average": lambda: total / samples,
        "Minimum": lambda: min(point.minimum for point in points),
        "Maximum": lambda: max(point.maximum for point in points),
    }
    if name not in known:
        raise ValueError(f"the statistic {name} is not known")
    return known[name]()


def _reason(alarm: Mapping[str, Any], recent: Sequence[float], state: str, missing: str) -> str:
    periods = alarm["EvaluationPeriods"]
    if not recent:
        told = f"no datapoints were received for {periods} period{'s' if periods > 1 else ''}"
        treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}.get(missing)
        if treated is None:
            return f"Insufficient Data: {told}."
        return f"Threshold Crossed: {told} and missing data was treated as [{treated}]."
    compared = alarm["ComparisonOperator"].removesuffix("ToThreshold").removesuffix("Threshold")
    values = ", ".join(f"{value:g}" for value in recent)
    negated = "" if state == "ALARM" else "not "
    return f"Threshold Crossed: datapoints [{values}] were {negated}{compared} the threshold ({alarm['Threshold']:g})."


def refusal(period: int, periods: int) -> str | None:
    """Return why PutMetricAlarm refuses so long an evaluation, if it does.

    Source: CloudWatch API reference, PutMetricAlarm, Period: seven days at most, a day for periods under an hour.
    """
    limit = 7 * _DAY if period >= _HOUR else _DAY
    if period * periods <= limit:
        return None
    return (
        f"Metrics cannot be checked across more than {limit} seconds (EvaluationPeriods * Period must be <= {limit})."
    )


class Alarms:
    """The alarms of the embedded AWS, and their clock.

    Arguments:
        put: MiniStack's PutMetricAlarm.
        describe: DescribeAlarms, as it is without this.
    """

    def __init__(self, put: Callable[..., Any], describe: Callable[..., Any]) -> None:
        self._put = put
        self._describe = describe
        self._ahead = 0.0

    def now(self) -> float:
        """Return the time of the alarms' clock, epoch seconds."""
        return time.time() + self._ahead

    def move(self, seconds: float) -> float:
        """Move the clock, evaluate all alarms and return the time that it is."""
        self._ahead += seconds
        self.evaluate_everywhere()
        return self.now()

    def put(self, params: Any, body: Any, is_cbor: bool, is_json: bool = False) -> Any:
        """Put an alarm: with its math, which MiniStack drops, and only if CloudWatch takes its length."""
        given = body if is_cbor or is_json else _nested(params)
        metrics = given.get("Metrics") or []
        stats = [query["MetricStat"]["Period"] for query in metrics if "MetricStat" in query]
        period = int(given.get("Period") or min(map(int, stats), default=_MINUTE))
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
        """Describe alarms, evaluated just now."""
        self.evaluate_all()
        return self._describe(*request, **named)

    def evaluate_everywhere(self) -> None:
        """Evaluate the alarms of all accounts and Regions."""
        for account, region in {scope[:2] for scope in list(cloudwatch._alarms._data)}:
            with responses.request_scope(account, region):
                self.evaluate_all()

    def evaluate_all(self) -> None:
        """Evaluate the alarms of the account and Region that the request is for."""
        for alarm in list(cloudwatch._alarms.values()):
            self.evaluate(alarm)

    def evaluate(self, alarm: dict[str, Any]) -> None:
        """Evaluate an alarm, and act if its state changes."""
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
        """Publish a change of state to the alarm's topics, if their policies let CloudWatch."""
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
        """Evaluate until the process ends."""
        while True:
            time.sleep(_SWEEP_SECONDS)
            try:
                self.evaluate_everywhere()
            except Exception:
                _logger.exception("CloudWatch: the alarms were not evaluated")


def message(
    alarm: Mapping[str, Any], old: str, new: str, reason: str, now: float, region: str, account: str
) -> dict[str, Any]:
    """Return what CloudWatch publishes to a topic: the names and spellings differ from DescribeAlarms'."""
    trigger = {
        "MetricName": alarm.get("MetricName"),
        "Namespace": alarm.get("Namespace"),
        "StatisticType": "Statistic",
        "Statistic": str(alarm.get("Statistic", "")).upper(),
        "Unit": alarm.get("Unit"),
        "Dimensions": [{"value": each["Value"], "name": each["Name"]} for each in alarm.get("Dimensions") or ()],
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
    """Return a metric query with its types, which the query protocol sends as text."""
    found = dict(query) | {"ReturnData": query.get("ReturnData", True) in (True, "true")}
    if "MetricStat" in found:
        found["MetricStat"] = dict(found["MetricStat"]) | {"Period": int(found["MetricStat"]["Period"])}
    return found


def emit_lambda_metrics(
    emit: Callable[..., None], function_name: str, duration_ms: float, error: bool, throttle: bool
) -> None:
    """Publish a function's metrics, and those of all functions together, which have no dimensions.

    Source: Lambda Developer Guide, "Types of metrics for Lambda functions": the view across all functions.
    """
    emit(function_name, duration_ms, error, throttle)
    counts = {"Invocations": 1, "Errors": int(error), "Throttles": int(throttle)}
    for metric, count in counts.items():
        cloudwatch.record_metric("AWS/Lambda", metric, count, "Count", {})
    if duration_ms > 0:
        cloudwatch.record_metric("AWS/Lambda", "Duration", duration_ms, "Milliseconds", {})


def install() -> None:
    """Evaluate MiniStack's alarms as CloudWatch does. Call it after all else that touches its CloudWatch."""
    alarms = Alarms(cloudwatch._put_metric_alarm, cloudwatch._describe_alarms)
    cloudwatch._evaluate_alarm = alarms.evaluate
    cloudwatch._dispatch_alarm_actions = alarms.act
    cloudwatch._put_metric_alarm = alarms.put
    cloudwatch._describe_alarms = alarms.describe
    lambda_svc._emit_lambda_metrics = partial(emit_lambda_metrics, lambda_svc._emit_lambda_metrics)
    paths.add("alarms/clock", lambda wanted: {"Now": alarms.move(wanted["Seconds"])})
    threading.Thread(target=alarms.sweep, name="alarms", daemon=True).start()
