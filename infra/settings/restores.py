"""The settings of restores, and of the function that reads stored backups again."""

from __future__ import annotations

from pydantic import Field

from infra.settings.fields import (
    FunctionName,
    QueueName,
    RoleName,
    ScheduleExpression,
    ScheduleName,
    Section,
    Suffix,
    TimeZone,
)


class Restores(Section):
    """The functions that verify and restore backups."""

    verify_function_name: FunctionName = Field(
        "VerifyStudentBackup", description="Function that verifies and compares."
    )
    restore_function_name: FunctionName = Field("RestoreStudentData", description="Function that restores.")
    restored_suffix: Suffix = Field(
        "restored", description="The function can create only tables named `<table>-<suffix>-<anything>`."
    )
    memory_mb: int = Field(512, ge=128, le=10240, description="Memory of each, MB (Lambda: 128 to 10,240).")
    ephemeral_storage_mb: int = Field(
        512,
        ge=512,
        le=10240,
        description="Temporary storage for comparisons, MB: about 70 bytes for each item and side.",
    )
    timeout_seconds: int = Field(900, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")


class Checks(Section):
    """The function that reads every stored backup again: after it was made, and then once within a number of days."""

    enabled: bool = Field(True, description="Read stored backups again.")
    function_name: FunctionName = Field("CheckStudentBackups", description="Function that reads the backups.")
    within_days: int = Field(
        30, ge=1, le=365, description="Days within which each backup is read. Backups in Glacier are not read."
    )
    schedule_name: ScheduleName = Field("DailyBackupCheck", description="Schedule, in the backup's schedule group.")
    schedule_role_name: RoleName = Field(
        "DailyBackupCheckRole", description="Execution role of the schedule; may invoke the check only."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 4 * * ? *)", description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    timeout_seconds: int = Field(900, ge=1, le=900, description="Time limit, seconds (Lambda: up to 900).")
    dead_letter_queue_name: QueueName = Field(
        "student-check-dead-letters", description="Queue of the checks that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "student-check-schedule-dead-letters", description="Queue of the checks that the Scheduler could not start."
    )
    undelivered_queue_name: QueueName = Field(
        "student-check-undelivered", description="Queue of the events that EventBridge could not deliver."
    )
