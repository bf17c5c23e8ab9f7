"""Every alarm, fed with data that must and must not raise it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from infra.emulator.alarm_evaluation import Datapoint, evaluate, refusal
from infra.settings import Settings
from rollbook.contract import schedules
from tests.synth.values.names import Names, functions, queues
from tests.synth.values.view import View, check, differs

_NOW = 1_700_000_040.0  # a whole minute
_MINUTE, _HOUR, _WEEK = 60, 3600, 604_800
_PERIOD = 5 * _MINUTE
# How much longer an alarm's evaluation range is than its periods; see infra/emulator/alarm_evaluation.py.
_EXTRA_PERIODS = 2


@dataclass(frozen=True)
class Watch:
    """What an alarm watches.

    Arguments:
        metric: namespace, name and dimensions.
        adds_up: whether its values count together (Sum), or each counts alone (Maximum).
        raised_at: the smallest value that raises it.
        below: the largest value that does not raise it.
        why: what it means.
    """

    why: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    adds_up: bool = True
    raised_at: float = 1
    below: float = 0


@dataclass(frozen=True)
class Silence:
    """Something that has to happen at least once in so many hours, or the alarm goes off."""

    name: str
    table: str
    hours: int


@dataclass(frozen=True)
class Age:
    """How old the last success may be, where CloudWatch cannot look back far enough for the success itself."""

    name: str
    table: str
    seconds: float


def watches(s: Settings) -> list[Watch]:
    """Return what has an alarm that goes off when it happens."""
    found = [Watch("Lambda is out of concurrency", "AWS/Lambda", "Throttles", ())]
    for function in functions(s).values():
        of = (("FunctionName", function.name),)
        limit = function.timeout * 1000 * s.monitoring.duration_percent / 100
        found.append(Watch("a function failed", "AWS/Lambda", "Errors", of))
        found.append(Watch("a function nearly timed out", "AWS/Lambda", "Duration", of, False, limit, limit - 1))
    found += [
        Watch("a dead letter waits", "AWS/SQS", "ApproximateNumberOfMessagesVisible", (("QueueName", queue),), False)
        for queue in queues(s)
    ]
    group = (("ScheduleGroup", s.backups.schedule_group),)
    for metric in ("TargetErrorCount", "InvocationDroppedCount", "InvocationsFailedToBeSentToDeadLetterCount"):
        found.append(Watch("a schedule could not start its target", "AWS/Scheduler", metric, group))
    for plan in s.backed_up_tables:
        found.append(Watch("a backup is in doubt", "Rollbook", "BackupsDoubtful", (("Table", plan.table_name),)))
    for plan in s.backed_up_tables if s.drills.enabled else []:
        found.append(Watch("a drill failed", "Rollbook", "DrillsFailed", (("Table", plan.table_name),)))
    return found


def silences(s: Settings) -> list[Silence | Age]:
    """Return what has a dead-man's alarm: after the longest time between two runs, the window and the grace.

    CloudWatch looks back a week at most (API reference, PutMetricAlarm, Period). What may take longer is watched by its
    age, which is measured every 6 hours.
    """
    drills = s.drills
    timed = [
        ("Backup", "BackupsCompleted", plan.table_name, plan.expression, plan.time_zone, plan.window_minutes)
        for plan in s.backed_up_tables
    ]
    if drills.enabled:
        zone, window = drills.schedule_time_zone, drills.flexible_window_minutes
        for plan in s.backed_up_tables:
            expression = getattr(plan.options, "drill_schedule_expression", None) or drills.schedule_expression
            timed.append(("Drill", "DrillsPassed", plan.table_name, expression, zone, window))
    found: list[Silence | Age] = []
    for what, metric, table, expression, zone, window in timed:
        longest = _longest(expression, zone)
        assert longest is not None
        silence = longest + timedelta(minutes=window, hours=s.monitoring.grace_hours)
        if silence > timedelta(seconds=_WEEK):
            found.append(Age(f"{what}AgeSeconds", table, silence.total_seconds()))
        else:
            found.append(Silence(metric, table, math.ceil(silence / timedelta(hours=1))))
    return found


@lru_cache(maxsize=64)
def _longest(expression: str, zone: str) -> timedelta | None:
    return schedules.longest_interval(expression, zone)


def described(alarm: Mapping[str, Any]) -> dict[str, Any]:
    """Return an alarm of the stack as DescribeAlarms gives it."""
    return {
        "AlarmName": alarm["alarm_name"],
        "Namespace": alarm["namespace"],
        "MetricName": alarm["metric_name"],
        "Dimensions": [{"Name": name, "Value": value} for name, value in alarm.get("dimensions", {}).items()],
        "Statistic": alarm["statistic"],
        "Period": alarm["period"],
        "EvaluationPeriods": alarm["evaluation_periods"],
        "DatapointsToAlarm": alarm.get("datapoints_to_alarm"),
        "Threshold": alarm["threshold"],
        "ComparisonOperator": alarm["comparison_operator"],
        "TreatMissingData": alarm.get("treat_missing_data"),
        "StateValue": "INSUFFICIENT_DATA",
    }


def _state(alarm: Mapping[str, Any], of: Watch, values: Mapping[float, float]) -> str:
    """Return the state at values by how many seconds ago they were."""

    def find(namespace: str, name: str, dimensions: Mapping[str, str]) -> Iterable[Datapoint]:
        if (namespace, name, tuple(sorted(dimensions.items()))) != (of.namespace, of.name, of.dimensions):
            return []
        return [Datapoint.of(_NOW - ago, value) for ago, value in values.items()]

    return evaluate(described(alarm), find, _NOW).state


def _wrong_watch(alarm: Mapping[str, Any], of: Watch) -> Iterator[str]:
    oldest = (1 + _EXTRA_PERIODS) * _PERIOD
    bad, good = of.raised_at, of.below
    half = {10.0: bad / 2, 20.0: bad / 2}
    cases: list[tuple[str, dict[float, float], str]] = [
        ("one bad value", {10: bad}, "ALARM"),
        ("a worse value", {10: bad * 3}, "ALARM"),
        ("the largest good value", {10: good}, "OK"),
        ("no data", {}, "OK"),
        ("a bad value among good ones", {10: bad, 20: 0, 30: 0}, "ALARM"),
        ("many zeros", {float(ago): 0 for ago in range(1, 60)}, "OK"),
        ("two values that are bad together", half, "ALARM" if of.adds_up else "OK"),
        ("a bad value in the oldest second that counts", {oldest: bad}, "ALARM"),
        ("a bad value that is too old", {oldest + 1: bad}, "OK"),
        ("a good period after a bad one", {10: 0, _PERIOD + 10: bad}, "OK"),
    ]
    for what, values, wanted in cases:
        state = _state(alarm, of, values)
        if state != wanted:
            yield f"{what} makes {state}, and should make {wanted}"


def _wrong_silence(alarm: Mapping[str, Any], of: Silence) -> Iterator[str]:
    metric = Watch("", "Rollbook", of.name, (("Table", of.table),))
    range_seconds = (of.hours + _EXTRA_PERIODS) * _HOUR
    if _state(alarm, metric, {}) != "ALARM":
        yield "silence does not raise it"
    for what, values, wanted in (
        ("a success just now", {10.0: 1.0}, "OK"),
        ("a success in the oldest second that counts", {float(range_seconds): 1.0}, "OK"),
        ("a success that is too old", {range_seconds + 1.0: 1.0}, "ALARM"),
        ("no success in any period", {float(hour * _HOUR + 1): 0.0 for hour in range(of.hours)}, "ALARM"),
        ("two halves of a success", {10.0: 0.5, 20.0: 0.5}, "OK"),
        ("less than a success", {10.0: 0.99}, "ALARM"),
        (
            "one success among zeros",
            {float(hour * _HOUR + 1): float(hour == of.hours - 1) for hour in range(of.hours)},
            "OK",
        ),
    ):
        state = _state(alarm, metric, values)
        if state != wanted:
            yield f"{what} makes {state}, and should make {wanted}"


def _wrong_age(alarm: Mapping[str, Any], of: Age) -> Iterator[str]:
    metric = Watch("", "Rollbook", of.name, (("Table", of.table),))
    now, before = 10.0, 6 * _HOUR + 10.0
    old, young = of.seconds, of.seconds - 1
    cases: list[tuple[str, dict[float, float], str]] = [
        ("nothing measured", {}, "ALARM"),
        ("too old, twice", {now: old, before: old}, "ALARM"),
        ("nearly too old, twice", {now: young, before: young}, "OK"),
        ("young again", {now: young, before: old}, "OK"),
        ("too old for the first time", {now: old, before: young}, "OK"),
        ("measured too early, and not yet again", {before: young}, "OK"),
        ("two measurements in one period", {now: old, now + 60: young, before: old, before + 60: old}, "OK"),
    ]
    for what, values, wanted in cases:
        state = _state(alarm, metric, values)
        if state != wanted:
            yield f"{what} makes {state}, and should make {wanted}"


@lru_cache(maxsize=1024)
def _wrong(alarm: str, of: Watch | Silence | Age) -> tuple[str, ...]:
    given = json.loads(alarm)
    match of:
        case Watch():
            return tuple(_wrong_watch(given, of))
        case Silence():
            return tuple(_wrong_silence(given, of))
    return tuple(_wrong_age(given, of))


@check
def every_alarm_is_raised_when_it_should_and_only_then(view: View) -> Iterator[str]:
    s = view.settings
    named: dict[str, Watch | Silence | Age] = {}
    for watch in watches(s):
        named[_name(watch, s)] = watch
    for silence in silences(s):
        named[f"{silence.table}-no-{'drill' if silence.name.startswith('Drill') else 'backup'}"] = silence
    found = view.by("aws_cloudwatch_metric_alarm", "alarm_name")
    yield from differs("the alarms", sorted(found), sorted(named))
    for name in found.keys() & named.keys():
        alarm = found[name]
        for fault in _wrong(json.dumps(alarm, sort_keys=True), named[name]):
            yield f"{name}: {fault}"
        refused = refusal(alarm["period"], alarm["evaluation_periods"])
        if refused:
            yield f"{name}: CloudWatch refuses it: {refused}"
        if alarm.get("actions_enabled", True) is not True:
            yield f"{name} notifies no address"
        for actions in ("alarm_actions", "ok_actions"):
            yield from differs(f"{name}.{actions}", alarm[actions], [Names(s).topic])


def _name(watch: Watch, s: Settings) -> str:
    of = dict(watch.dimensions)
    match watch.name:
        case "Throttles":
            return "functions-throttled"
        case "Errors" | "Duration":
            return f"{of['FunctionName']}-{watch.name.lower()}"
        case "ApproximateNumberOfMessagesVisible":
            return f"{of['QueueName']}-depth"
        case "BackupsDoubtful":
            return f"{of['Table']}-backup-in-doubt"
        case "DrillsFailed":
            return f"{of['Table']}-drill-failed"
    return f"{s.backups.schedule_group}-{watch.name}"
