"""The settings of the drills: when the backups of each table are drilled, and with which objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from infra.settings.backups import FleetTable, TablePlan
from infra.settings.fields import (
    FunctionName,
    QueueName,
    RoleName,
    ScheduleExpression,
    ScheduleName,
    Section,
    Suffix,
    TimeZone,
    check_window,
)
from infra.settings.observability import Objectives
from rollbook.contract import schedules
from rollbook.contract.jobs import DrillJob

# An export ends minutes after it starts, and its newest data is five minutes old.
_EXPORT_TIME = timedelta(hours=1)


class Drills(Section):
    """The drills: each backed-up table's newest backup is restored into a scratch table and compared."""

    enabled: bool = Field(True, description="Run drills.")
    function_name: FunctionName = Field("DrillStudentBackup", description="Function that makes the drill.")
    scratch_suffix: Suffix = Field("drill", description="Scratch tables are `<table>-<suffix>-<time>`.")
    schedule_name: ScheduleName = Field(
        "WeeklyRestoreDrill", description="Schedule for the records, in the backup's schedule group."
    )
    schedule_role_name: RoleName = Field(
        "WeeklyRestoreDrillRole", description="Execution role of the schedule; may invoke the drill only."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 3 ? * SUN *)", description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    flexible_window_minutes: int = Field(
        15,
        ge=0,
        le=1440,
        description="Minutes within which a drill may start; 0 for exactly on time (Scheduler: 1 to 1,440).",
    )
    memory_mb: int = Field(512, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    ephemeral_storage_mb: int = Field(
        512,
        ge=512,
        le=10240,
        description="Temporary storage for the comparison, MB: about 70 bytes for each item and side.",
    )
    timeout_seconds: int = Field(900, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")
    dead_letter_queue_name: QueueName = Field(
        "student-drill-dead-letters", description="Queue of the drills that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "student-drill-schedule-dead-letters", description="Queue of the drills that the Scheduler could not start."
    )

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        check_window(self.schedule_expression, self.schedule_time_zone, self.flexible_window_minutes)
        return self


@dataclass(frozen=True)
class DrillPlan:
    """When a table's backups are drilled."""

    schedule_name: str
    expression: str
    time_zone: str
    window_minutes: int
    job: DrillJob


def drill_plans(drills: Drills, objectives: Objectives, plans: Sequence[TablePlan]) -> list[DrillPlan]:
    """Return the drills of all backed-up tables, in the order of the tables; none if drills are off."""
    return [_plan(drills, objectives, plan) for plan in plans] if drills.enabled else []


def _plan(drills: Drills, objectives: Objectives, plan: TablePlan) -> DrillPlan:
    table = plan.options if isinstance(plan.options, FleetTable) else None
    job = DrillJob(
        table_name=plan.table_name,
        scratch_prefix=f"{plan.table_name}-{drills.scratch_suffix}-",
        rpo_hours=(table.rpo_hours or _reachable(plan, objectives)) if table else objectives.rpo_hours,
        rto_minutes=(table.rto_minutes if table else None) or objectives.rto_minutes,
        kms_key_arn=(table.kms_key_arn if table else None) or "",
    )
    return DrillPlan(
        (table.drill_schedule_name or f"Drill-{plan.table_name}"[:64]) if table else drills.schedule_name,
        (table.drill_schedule_expression if table else None) or drills.schedule_expression,
        drills.schedule_time_zone,
        drills.flexible_window_minutes,
        job,
    )


def _reachable(plan: TablePlan, objectives: Objectives) -> float:
    """Return the objective, or the longest age of the newest backup if the schedule is rarer."""
    try:
        silence = schedules.longest_silence(plan.expression, plan.time_zone, plan.window_minutes, _EXPORT_TIME)
    except schedules.ScheduleError:  # a schedule that fires once
        return objectives.rpo_hours
    return max(objectives.rpo_hours, silence / timedelta(hours=1))
