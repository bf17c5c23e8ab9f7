"""Alarms are evaluated as the CloudWatch User Guide's examples say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from infra.emulator import alarms
from infra.emulator.alarm_evaluation import Datapoint, Find, evaluate, refusal, state_of

NOW = 1_700_000_040.0  # a whole minute
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
KEPT = "what it was"


def points(drawn: str) -> list[bool | None]:
    return [{"0": False, "X": True, "-": None}[each] for each in drawn.split()]


# "Configuring how CloudWatch alarms treat missing data": the two tables, three periods of an evaluation range of five.
# The row of one good datapoint is evaluated with that datapoint anywhere in the range.
THREE_OF_THREE = {
    "0 - X - X": ("OK", "OK", "OK", "OK"),
    "0 - - - -": ("OK", "OK", "OK", "OK"),
    "- - - - 0": ("OK", "OK", "OK", "OK"),
    "- - - - -": ("INSUFFICIENT_DATA", KEPT, "ALARM", "OK"),
    "0 X X - X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "- - X - -": ("ALARM", KEPT, "ALARM", "OK"),
}
TWO_OF_THREE = {
    "0 - X - X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0 0 X 0 X": ("ALARM", "ALARM", "ALARM", "ALARM"),
    "0 - X - -": ("OK", "OK", "ALARM", "OK"),
    "- - - - 0": ("OK", "OK", "ALARM", "OK"),
    "- - - X -": ("ALARM", KEPT, "ALARM", "OK"),
}
CELLS = [
    pytest.param(needed, drawn, treatment, state, id=f"{needed} of 3, {drawn}, {treatment}")
    for needed, table in ((3, THREE_OF_THREE), (2, TWO_OF_THREE))
    for drawn, states in table.items()
    for treatment, state in zip(TREATMENTS, states, strict=True)
]


@pytest.mark.parametrize(("needed", "drawn", "treatment", "state"), CELLS)
def test_missing_data_is_treated_as_in_the_tables(needed: int, drawn: str, treatment: str, state: str) -> None:
    assert state_of(points(drawn), 3, needed, treatment, KEPT) == state


@pytest.mark.parametrize("drawn", ["- - - - X", "- - - X -"])
def test_a_breach_that_is_too_young_raises_no_alarm_too_early(drawn: str) -> None:
    """The section "Avoiding premature transitions to alarm state"."""
    assert state_of(points(drawn), 3, 3, "missing", "OK") == "OK"


def alarm(**given: Any) -> dict[str, Any]:
    return {
        "AlarmName": "a",
        "Namespace": "N",
        "MetricName": "M",
        "Dimensions": [],
        "Statistic": "Sum",
        "Period": 300,
        "EvaluationPeriods": 1,
        "DatapointsToAlarm": 1,
        "Threshold": 3.0,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        "StateValue": "OK",
    } | given


def data(**metrics: list[tuple[float, float]]) -> Find:
    def find(namespace: str, name: str, dimensions: Mapping[str, str]) -> Iterable[Datapoint]:
        key = "_".join([name, *dimensions.values()])
        return [Datapoint.of(NOW - ago, value) for ago, value in metrics.get(key, [])]

    return find


def state(definition: dict[str, Any], find: Find, now: float = NOW) -> str:
    return evaluate(definition, find, now).state


@pytest.mark.parametrize(
    ("statistic", "threshold", "expected"),
    [
        ("Sum", 6, "ALARM"),
        ("Sum", 6.5, "OK"),
        ("Average", 2, "ALARM"),
        ("Average", 2.5, "OK"),
        ("Maximum", 3, "ALARM"),
        ("Maximum", 3.5, "OK"),
        ("Minimum", 1, "ALARM"),
        ("Minimum", 1.5, "OK"),
        ("SampleCount", 3, "ALARM"),
        ("SampleCount", 4, "OK"),
    ],
)
def test_a_statistic_is_of_the_values_of_a_period(statistic: str, threshold: float, expected: str) -> None:
    find = data(M=[(10, 1), (20, 2), (30, 3)])
    assert state(alarm(Statistic=statistic, Threshold=threshold), find) == expected


@pytest.mark.parametrize(
    ("comparison", "at", "below", "above"),
    [
        ("GreaterThanOrEqualToThreshold", "ALARM", "OK", "ALARM"),
        ("GreaterThanThreshold", "OK", "OK", "ALARM"),
        ("LessThanThreshold", "OK", "ALARM", "OK"),
        ("LessThanOrEqualToThreshold", "ALARM", "ALARM", "OK"),
    ],
)
def test_a_comparison_is_exact_at_the_threshold(comparison: str, at: str, below: str, above: str) -> None:
    states = [state(alarm(ComparisonOperator=comparison), data(M=[(10, value)])) for value in (3, 2.999, 3.001)]
    assert states == [at, below, above]


def test_the_window_slides_by_the_minute_and_reaches_two_periods_further() -> None:
    """The data of the running minute counts when the minute is over."""
    find = data(M=[(10, 3)])
    assert state(alarm(), find, NOW - 1) == "OK"
    assert state(alarm(), find, NOW) == "ALARM"
    # It is still found in the two extra periods, as there is no newer one.
    assert state(alarm(), find, NOW + 2 * 300 + 240) == "ALARM"
    assert state(alarm(), find, NOW + 3 * 300) == "OK"


def test_an_alarm_looks_at_its_own_dimensions_alone() -> None:
    watched = alarm(Dimensions=[{"Name": "D", "Value": "one"}])
    assert state(watched, data(M_other=[(10, 9)], M=[(10, 9)])) == "OK"
    assert state(watched, data(M_one=[(10, 9)])) == "ALARM"


def test_a_dead_mans_alarm_goes_off_when_the_last_success_leaves_its_range() -> None:
    watched = alarm(
        ComparisonOperator="LessThanThreshold",
        Threshold=1,
        TreatMissingData="breaching",
        Period=3600,
        EvaluationPeriods=29,
        DatapointsToAlarm=29,
    )
    find = data(M=[(60, 1)])
    assert state(watched, find) == "OK"
    assert state(watched, find, NOW + 31 * 3600 - 120) == "OK"
    assert state(watched, find, NOW + 31 * 3600) == "ALARM"
    assert state(watched, data()) == "ALARM"


def test_missing_data_of_dynamodb_is_always_ignored() -> None:
    """The API reference of PutMetricAlarm, TreatMissingData."""
    watched = alarm(Namespace="AWS/DynamoDB", TreatMissingData="breaching")
    assert state(watched | {"StateValue": "OK"}, data()) == "OK"
    assert state(watched | {"StateValue": "ALARM"}, data()) == "ALARM"


def math(expression: str) -> dict[str, Any]:
    def stat(name: str) -> dict[str, Any]:
        return {"Metric": {"Namespace": "N", "MetricName": name}, "Stat": "Sum", "Period": 300}

    queries = [{"Id": name.lower(), "MetricStat": stat(name), "ReturnData": False} for name in ("GOOD", "BAD")]
    return alarm(MetricName=None, Metrics=[*queries, {"Id": "e", "Expression": expression, "ReturnData": True}])


def test_math_takes_arithmetic_and_fills_what_is_missing() -> None:
    rate = math("100 * FILL(bad, 0) / (FILL(good, 0) + FILL(bad, 0))") | {"Threshold": 50}
    assert state(rate, data(GOOD=[(10, 1)], BAD=[(10, 1)])) == "ALARM"
    assert state(rate, data(GOOD=[(10, 2)], BAD=[(10, 1)])) == "OK"
    # Nothing of either: a division by zero is no datapoint.
    assert evaluate(rate, data(), NOW).recent == ()
    assert evaluate(math("good + bad"), data(GOOD=[(10, 9)]), NOW).recent == ()


@pytest.mark.parametrize(
    "given", [math("RATE(good)"), alarm(Statistic="p99"), alarm(ComparisonOperator="LessThanLowerThreshold")]
)
def test_what_is_not_known_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not supported"):
        evaluate(given, data(M=[(10, 1)]), NOW)


@pytest.mark.parametrize(
    ("period", "periods", "taken"),
    [(300, 288, True), (300, 289, False), (3600, 168, True), (3600, 169, False), (86_400, 7, True)],
)
def test_an_alarm_looks_back_a_day_or_with_long_periods_a_week(period: int, periods: int, taken: bool) -> None:
    assert (refusal(period, periods) is None) is taken


def test_lambdas_metrics_are_also_published_for_all_functions_together(monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[tuple[str, float, str]] = []
    monkeypatch.setattr(alarms.cloudwatch, "record_metric", lambda *given: put.append((given[1], given[2], given[4])))
    alarms.emit_lambda_metrics(lambda *_: None, "f", duration_ms=0.0, error=False, throttle=True)
    assert put == [("Invocations", 1, {}), ("Errors", 0, {}), ("Throttles", 1, {})]
