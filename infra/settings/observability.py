"""The settings of knowing: alerts, the audit trail, objectives, the weekly report, alarms."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from infra.settings.fields import (
    BucketName,
    Email,
    FunctionName,
    QueueName,
    RetentionDays,
    RoleName,
    ScheduleExpression,
    ScheduleName,
    Section,
    TimeZone,
)

# CloudWatch evaluates seven days at most (API reference, PutMetricAlarm, "EvaluationPeriods").
LOOKS_BACK = timedelta(days=7)


class Alerts(Section):
    """The topic that tells the operator when something is wrong."""

    topic_name: str = Field(
        "student-backup-alerts", pattern=r"^[A-Za-z0-9_-]{1,256}$", description="SNS topic, not encrypted with a key."
    )
    recipient: Email | None = Field(None, description="Who is told, and confirms it once; by default that of `[mail]`.")


class Audit(Section):
    """The trail of who touched the backups, and the alert of who should not have."""

    enabled: bool = Field(True, description="Keep it. CloudTrail costs 0.10 dollars for 100,000 reads and writes.")
    trail_name: str = Field(
        "student-backup-audit",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,46}[A-Za-z0-9]$",
        description="Trail, rule and log group (3 to 48 characters).",
    )
    bucket_name: BucketName | None = Field(
        None, description="Bucket of the trail; by default that of the backups with `-audit` behind it."
    )
    expire_after_days: int = Field(365, ge=1, description="Days until a record is deleted from the bucket.")
    log_retention_days: RetentionDays = Field(90, description="Days for which the log group keeps a record.")
    alert_refused: bool = Field(True, description="Alert of what S3 refused too.")
    function_name: FunctionName = Field("AuditBackupAccess", description="Function that judges each record.")
    dead_letter_queue_name: QueueName = Field(
        "student-backup-audit-dead-letters", description="Queue of the records that the function failed."
    )
    undelivered_queue_name: QueueName = Field(
        "student-backup-audit-undelivered", description="Queue of those that EventBridge could not hand to it."
    )


class Objectives(Section):
    """What is wanted of the backups; reports hold what was reached against it."""

    rpo_hours: float = Field(25, gt=0, description="Hours of changes that may be lost at most.")
    rto_minutes: float = Field(60, gt=0, description="Minutes that it may take to bring the records back.")


class WeeklyReport(Section):
    """The weekly mail on all backups."""

    enabled: bool = Field(True, description="Send it.")
    function_name: FunctionName = Field("SendBackupReport", description="Function that sends it.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Its memory, MB (Lambda: 128 to 10,240).")
    schedule_name: ScheduleName = Field("WeeklyBackupReport", description="Schedule, in the group of the backup's.")
    schedule_role_name: RoleName = Field(
        "WeeklyBackupReportRole", description="Execution role of the schedule; may invoke the report only."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 6 ? * MON *)", description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    days: int = Field(7, ge=1, le=366, description="Days that it covers.")
    measure_schedule_name: ScheduleName = Field(
        "MeasureBackupAges",
        description="Schedule, in the same group, by which the function measures every 6 hours how old the last good "
        "backup and drill are. The alarms on what is due weekly or more rarely need it.",
    )
    dead_letter_queue_name: QueueName = Field(
        "backup-report-dead-letters", description="Queue of the reports that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "backup-report-schedule-dead-letters", description="Queue of those that the Scheduler could not start."
    )


class Monitoring(Section):
    """Alarms and the dashboard."""

    enabled: bool = Field(True, description="Make them.")
    watch: Literal["all", "backups"] = Field(
        "all",
        description="Which functions and queues: all, or those of the backup alone. An alarm costs 0.10 dollars a "
        "month; the first ten of an account are free.",
    )
    grace_hours: float = Field(
        3, ge=0, le=72, description="Hours past its time after which a missing backup or drill is told of."
    )
    duration_percent: int = Field(
        90, ge=10, le=99, description="Part of its time limit, in percent, at which a function is told of."
    )
    dashboard_name: str = Field("student-backups", pattern=r"^[A-Za-z0-9_-]{1,255}$", description="Dashboard.")
