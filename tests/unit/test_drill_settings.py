"""The settings of chains and drills: how old a base may be, and what each table's drill expects."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from infra.settings.backups import FleetTable, TableBackups, TablePlan
from infra.settings.drills import Drills, drill_plans
from infra.settings.observability import Objectives

INCREMENTS: dict[str, Any] = {"engine": "export", "format": "dynamodb-export", "export_type": "incremental"}
OBJECTIVES = Objectives(rpo_hours=25, rto_minutes=60)


@pytest.mark.parametrize(
    ("days", "why"),
    [
        ({"full_every_days": 46}, "full_every_days = 46 must be at most half of glacier_after_days = 90"),
        (
            {
                "full_every_days": 8,
                "expire_after_days": 15,
                "glacier_after_days": 0,
                "infrequent_access_after_days": 0,
            },
            "full_every_days = 8 must be at most half of expire_after_days = 15",
        ),
    ],
)
def test_a_base_must_outlive_its_increments(days: dict[str, int], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TableBackups(**INCREMENTS, **days)
    assert TableBackups(**(INCREMENTS | days | {"export_type": "full"})).full_every_days == days["full_every_days"]
    shorter = days | {"full_every_days": days["full_every_days"] - 1}
    assert TableBackups(**INCREMENTS, **shorter).export_type == "incremental"


def plan(table: TableBackups, expression: str, name: str = "grades") -> TablePlan:
    return TablePlan(name, f"{name}/", f"Backup-{name}", expression, "UTC", 5, table)


def fleet(**options: Any) -> FleetTable:
    return FleetTable(table_name="grades", frequency="daily", **options)


@pytest.mark.parametrize(
    ("table", "expression", "hours"),
    [
        (fleet(), "cron(0 0 * * ? *)", 25.1),
        (fleet(), "cron(0 0 ? * SUN *)", 169.1),
        (fleet(rpo_hours=30), "cron(0 0 ? * SUN *)", 30),
        (fleet(), "rate(1 hour)", 25),
        (TableBackups(), "cron(0 0 ? * SUN *)", 25),
    ],
)
def test_an_objective_is_what_is_said_or_what_the_schedule_can_reach(
    table: TableBackups, expression: str, hours: float
) -> None:
    [found] = drill_plans(Drills(), OBJECTIVES, [plan(table, expression)])
    assert found.job.rpo_hours == pytest.approx(hours, abs=0.05)
    assert found.job.rto_minutes == 60


def test_each_table_has_a_drill_of_its_own() -> None:
    own = fleet(drill_schedule_expression="cron(0 5 ? * MON *)", drill_schedule_name="Mine", rto_minutes=5)
    plans = [
        plan(TableBackups(), "rate(1 hour)", "records"),
        plan(own, "rate(1 hour)"),
        plan(fleet(), "rate(1 hour)", "x"),
    ]
    found = drill_plans(Drills(), OBJECTIVES, plans)
    assert [(each.schedule_name, each.expression) for each in found] == [
        ("WeeklyRestoreDrill", "cron(0 3 ? * SUN *)"),
        ("Mine", "cron(0 5 ? * MON *)"),
        ("Drill-x", "cron(0 3 ? * SUN *)"),
    ]
    assert [each.job.scratch_prefix for each in found] == ["records-drill-", "grades-drill-", "x-drill-"]
    assert found[1].job.rto_minutes == 5
    assert drill_plans(Drills(enabled=False), OBJECTIVES, plans) == []
