"""Computes an alarm's state from the data points of its metric.

Sources: CloudWatch User Guide, "Alarm evaluation", "Configuring how CloudWatch alarms treat missing data", "Alarm
evaluation window", "Using math expressions with CloudWatch metrics"; CloudWatch API reference, PutMetricAlarm.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


# CloudWatch evaluates more periods than the evaluation periods. The number is not documented; in all examples it is 2.
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


Series = list[float | None]


@dataclass(frozen=True)
class Datapoint:
    """The statistics of one or more published values of a metric.

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
        """Return the datapoint of a single value."""
        return cls(at, 1, value, value, value)


# Returns the datapoints of a metric, given its namespace, name and dimensions.
Find = Callable[[str, str, Mapping[str, str]], Iterable[Datapoint]]


@dataclass(frozen=True)
class Verdict:
    """An alarm's state, its reason, and the evaluated datapoints, oldest first."""

    state: str
    reason: str
    recent: tuple[float, ...]


def evaluate(alarm: Mapping[str, Any], find: Find, now: float) -> Verdict:
    """Return the state of an alarm.

    Arguments:
        alarm: in the form of DescribeAlarms.
        find: returns the datapoints of one metric with exactly these dimensions.
        now: epoch seconds.

    Raises:
        ValueError: the alarm uses an unsupported statistic, comparison or function.
    """
    periods = alarm["EvaluationPeriods"]
    needed = alarm.get("DatapointsToAlarm")
    series = _series(alarm, find, now, periods + _EXTRA_PERIODS)
    compare = _OPERATORS.get(alarm["ComparisonOperator"])
    if compare is None:
        raise ValueError(f"{alarm['AlarmName']}: the comparison {alarm['ComparisonOperator']} is not supported")
    breaching = [None if value is None else compare(value, alarm["Threshold"]) for value in series]
    missing = "ignore" if alarm.get("Namespace") == "AWS/DynamoDB" else alarm.get("TreatMissingData") or "missing"
    state = state_of(
        breaching, periods, periods if needed is None else needed, missing, alarm.get("StateValue", "INSUFFICIENT_DATA")
    )
    recent = tuple(value for value in series if value is not None)[-periods:]
    return Verdict(state, _reason(alarm, recent, state, missing), recent)


def state_of(breaching: Sequence[bool | None], periods: int, needed: int, missing: str, current: str) -> str:
    """Return the state that results from the datapoints.

    Arguments:
        breaching: for each datapoint of the evaluation range, oldest first, whether it breaches the threshold; None if
            it is missing.
        periods, needed: N and M of "M out of N".
        missing: how missing data is treated.
        current: the alarm's current state, which is kept if missing data is ignored.
    """
    real = [is_breaching for is_breaching in breaching if is_breaching is not None]
    if len(real) >= periods:
        return "ALARM" if sum(real[-periods:]) >= needed else "OK"
    filled = periods - len(real) if missing == "breaching" else 0
    if sum(real) + filled >= needed:
        return "ALARM"
    if missing in {"breaching", "notBreaching"}:
        return "OK"
    if not real:
        return current if missing == "ignore" else "INSUFFICIENT_DATA"
    # "Avoiding premature transitions": all datapoints breach, and the oldest is in period M or before.
    window = list(breaching[-periods:])
    oldest = len(window) - window.index(True) if True in window else 0
    if all(real) and oldest >= needed:
        return current if missing == "ignore" else "ALARM"
    return "OK"


def _series(alarm: Mapping[str, Any], find: Find, now: float, count: int) -> Series:
    """Return the last values of an alarm's metric or expression, oldest first."""
    if not alarm.get("Metrics"):
        dimensions = _dimensions(alarm)
        found = find(alarm["Namespace"], alarm["MetricName"], dimensions)
        return _values(found, alarm["Statistic"], alarm["Period"], now, count)
    known: dict[str, Series] = {}
    expressions = {query["Id"]: query["Expression"] for query in alarm["Metrics"] if query.get("Expression")}
    for query in alarm["Metrics"]:
        if "MetricStat" in query:
            stat, metric = query["MetricStat"], query["MetricStat"]["Metric"]
            found = find(metric["Namespace"], metric["MetricName"], _dimensions(metric))
            known[query["Id"]] = _values(found, stat["Stat"], stat["Period"], now, count)
    [returned] = [query["Id"] for query in alarm["Metrics"] if query.get("ReturnData", True)]

    def of(name: str) -> Series:
        if name not in known:
            known[name] = _computed(ast.parse(expressions[name], mode="eval").body, of, count)
        return known[name]

    return of(returned)


def _dimensions(metric: Mapping[str, Any]) -> dict[str, str]:
    return {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions") or ()}


def _computed(node: ast.expr, of: Callable[[str], Series], count: int) -> Series:
    """Return the values of a math expression. Only arithmetic and FILL are supported."""
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
    raise ValueError(f"the math expression {ast.unparse(node)} is not supported")


def _combined(do: Callable[[float, float], float], one: float | None, other: float | None) -> float | None:
    # There is no datapoint if one side is missing or the divisor is zero.
    if one is None or other is None or (do is operator.truediv and other == 0):
        return None
    return do(one, other)


def _values(found: Iterable[Datapoint], statistic: str, period: int, now: float, count: int) -> Series:
    """Return a metric's statistic in the last periods. The window moves every minute ("Alarm evaluation window")."""
    step = min(period, _MINUTE)
    end = now // step * step
    slots: list[list[Datapoint]] = [[] for _ in range(count)]
    for point in found:
        number = int((end - point.at) // period) if point.at < end else -1
        # A datapoint at the border of two periods belongs to the later one.
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
        raise ValueError(f"the statistic {name} is not supported")
    return known[name]()


def _reason(alarm: Mapping[str, Any], recent: Sequence[float], state: str, missing: str) -> str:
    periods = alarm["EvaluationPeriods"]
    if not recent:
        text = f"no datapoints were received for {periods} period{'s' if periods > 1 else ''}"
        treated = {"breaching": "Breaching", "notBreaching": "NonBreaching"}.get(missing)
        if treated is None:
            return f"Insufficient Data: {text}."
        return f"Threshold Crossed: {text} and missing data was treated as [{treated}]."
    compared = alarm["ComparisonOperator"].removesuffix("ToThreshold").removesuffix("Threshold")
    values = ", ".join(f"{value:g}" for value in recent)
    negated = "" if state == "ALARM" else "not "
    return f"Threshold Crossed: datapoints [{values}] were {negated}{compared} the threshold ({alarm['Threshold']:g})."


def refusal(period: int, periods: int) -> str | None:
    """Return why PutMetricAlarm refuses an evaluation range as too long, or None.

    Source: CloudWatch API reference, PutMetricAlarm, Period: at most seven days, or a day for periods under an hour.
    """
    limit = 7 * _DAY if period >= _HOUR else _DAY
    if period * periods <= limit:
        return None
    return (
        f"Metrics cannot be checked across more than {limit} seconds (EvaluationPeriods * Period must be <= {limit})."
    )
