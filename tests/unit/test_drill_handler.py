"""The drill function takes a drill from its event, and refuses one that could not fail or is not of its table."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

import pytest

from rollbook.contract.environment import Drill
from rollbook.contract.fields import to_texts
from rollbook.contract.jobs import DrillJob
from tests.unit.engine import PLACES

DEFAULT = DrillJob(table_name="studentData", scratch_prefix="studentData-drill-", rpo_hours=25, rto_minutes=60)
GRADES = DrillJob(table_name="grades", scratch_prefix="grades-drill-", rpo_hours=169.5, rto_minutes=5)


@pytest.fixture
def function(aws: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in Drill(notifications=PLACES, job=DEFAULT).variables().items():
        monkeypatch.setenv(name, value)
    return importlib.reload(importlib.import_module("handlers.drill"))


@pytest.mark.parametrize(
    ("event", "job"),
    [
        ({}, DEFAULT),
        ({"table": {}}, DEFAULT),
        ({"table": to_texts(GRADES)}, GRADES),
        ({"table": to_texts(GRADES), "scheduledTime": "2025-07-08T00:00:00Z"}, GRADES),
        ({"table": {"rpo_hours": "1"}}, replace(DEFAULT, rpo_hours=1)),
    ],
)
def test_the_drill_is_that_of_the_event_or_of_the_function(function: Any, event: Any, job: DrillJob) -> None:
    assert function.job_of(event) == job


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"name": "grades"}, "must be texts and among"),
        ({"rpo_hours": 1}, "must be texts and among"),
        ("grades", "must be texts and among"),
        ({"rpo_hours": "soon"}, "rpo_hours is 'soon'"),
        ({"rpo_hours": "nan"}, "rpo_hours is nan; it must be more than 0 and finite"),
        ({"rto_minutes": "inf"}, "rto_minutes is inf"),
        ({"rpo_hours": "-1"}, "rpo_hours is -1"),
        ({"table_name": "grades"}, "the scratch prefix is studentData-drill-; it must begin with grades-"),
        ({"scratch_prefix": "student"}, "it must begin with studentData-"),
    ],
)
def test_a_drill_that_could_not_fail_or_is_of_another_table_is_refused(function: Any, table: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        function.job_of({"table": table})
