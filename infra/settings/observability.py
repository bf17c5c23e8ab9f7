"""The settings of alerts, audit trail, objectives, weekly report and alarms."""

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

# The longest time that a CloudWatch alarm evaluates (API reference, PutMetricAlarm, "EvaluationPeriods").
ALARM_LIMIT = timedelta(days=7)


class Alerts(Section):
    """The topic that notifies the operator of problems."""

    topic_name: str = Field(
        "student-backup-alerts", pattern=r"^[A-Za-z0-9_-]{1,256}$", description="SNS topic; not encrypted with KMS."
    )
    recipient: Email | None = Field(
        None, description="Recipient of alerts; must confirm the subscription. By default that of `[mail]`."
    )


class Audit(Section):
    """The audit trail of access to the backups, and the alerts about unexpected access."""

    enabled: bool = Field(
        True, description="Keep an audit trail. CloudTrail costs 0.10 dollars for 100,000 reads and writes."
    )
    trail_name: str = Field(
        "student-backup-audit",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,46}[A-Za-z0-9]$",
        description="Trail, rule and log group (3 to 48 characters).",
    )
    bucket_name: BucketName | None = Field(
        None, description="Bucket of the trail; by default the backups' bucket name and `-audit`."
    )
    expire_after_days: int = Field(365, ge=1, description="Days until a record is deleted from the bucket.")
    log_retention_days: RetentionDays = Field(90, description="Days for which the log group keeps a record.")
    alert_refused: bool = Field(True, description="Report attempts that S3 refused, too.")
    function_name: FunctionName = Field("AuditBackupAccess", description="Function that checks each record.")
    dead_letter_queue_name: QueueName = Field(
        "student-backup-audit-dead-letters", description="Queue of the records that failed three times."
    )
    undelivered_queue_name: QueueName = Field(
        "student-backup-audit-undelivered", description="Queue of the records that EventBridge could not deliver."
    )


class Objectives(Section):
    """The objectives of the backups; reports compare them with the results."""

    rpo_hours: float = Field(25, gt=0, description="Maximum loss, in hours of changes (RPO).")
    rto_minutes: float = Field(60, gt=0, description="Maximum time of a restore, in minutes (RTO).")


class WeeklyReport(Section):
    """The weekly report by mail on all backups."""

    enabled: bool = Field(True, description="Send the report.")
    function_name: FunctionName = Field("SendBackupReport", description="Function that sends the report.")
    memory_mb: int = Field(256, ge=128, le=10240, description="Memory, MB (Lambda: 128 to 10,240).")
    schedule_name: ScheduleName = Field("WeeklyBackupReport", description="Schedule, in the backup's schedule group.")
    schedule_role_name: RoleName = Field(
        "WeeklyBackupReportRole", description="Execution role of the schedule; may invoke the report only."
    )
    schedule_expression: ScheduleExpression = Field("cron(0 6 ? * MON *)", description="cron(…), rate(…) or at(…).")
    schedule_time_zone: TimeZone = Field("UTC", description="IANA zone in which the expression is read.")
    days: int = Field(7, ge=1, le=366, description="Days that the report covers.")
    measure_schedule_name: ScheduleName = Field(
        "MeasureBackupAges",
        description="Schedule, in the same group, by which the function measures every 6 hours the age of the last "
        "good backup and drill. Alarms on weekly and rarer schedules need it.",
    )
    dead_letter_queue_name: QueueName = Field(
        "backup-report-dead-letters", description="Queue of the reports that failed three times."
    )
    schedule_dead_letter_queue_name: QueueName = Field(
        "backup-report-schedule-dead-letters", description="Queue of the reports that the Scheduler could not start."
    )


class Monitoring(Section):
    """Alarms and the dashboard."""

    enabled: bool = Field(True, description="Create alarms and dashboard.")
    watch: Literal["all", "backups"] = Field(
        "all",
        description="Functions and queues with alarms: all, or only those of the backup. An alarm costs 0.10 dollars "
        "a month; the first ten of an account are free.",
    )
    grace_hours: float = Field(
        3, ge=0, le=72, description="Hours of delay after which a missing backup or drill raises an alarm."
    )
    duration_percent: int = Field(
        90, ge=10, le=99, description="Percent of its time limit at which a function raises an alarm."
    )
    dashboard_name: str = Field(
        "student-backups", pattern=r"^[A-Za-z0-9_-]{1,255}$", description="Name of the dashboard."
    )
