"""The weekly mail on all backups."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from infra.backups.notifications import Reporting
from infra.constructs.function import Function, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import InvokeSchedule, Timing
from infra.observability import report_settings
from infra.platform import Aws

# How often the ages of backups and drills are measured.
MEASURE_HOURS = 6


class WeeklyReport(Construct):
    """The function that makes the report and mails it, and its schedule."""

    def __init__(
        self, scope: Construct, id_: str, *, platform: Aws, reporting: Reporting, group: SchedulerScheduleGroup
    ) -> None:
        super().__init__(scope, id_)
        settings = reporting.settings
        weekly = settings.weekly_report
        function = Function(
            self,
            "function",
            platform=platform,
            name=weekly.function_name,
            entry="handlers.weekly_report.handler",
            environment=report_settings.variables(settings),
            limits=Limits(weekly.memory_mb, timeout_seconds=120),
            log_retention_days=settings.functions.log_retention_days,
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=weekly.dead_letter_queue_name),
        )
        reporting.mail.grant_send(function)
        reporting.store.grant_list(function)
        here = f"{settings.region}:{platform.account_id}"
        tables = [f"arn:aws:dynamodb:{here}:table/{table.table_name}" for table in settings.reported_tables]
        schedules = [
            f"arn:aws:scheduler:{here}:schedule/{settings.backups.schedule_group}/{table.schedule_name}"
            for table in settings.reported_tables
        ]
        function.allow("DescribeTables", ["dynamodb:DescribeTable"], tables)
        function.allow("ReadSchedules", ["scheduler:GetSchedule"], schedules)
        if settings.vault.enabled:
            vault = f"arn:aws:backup:{here}:backup-vault:{settings.vault.vault_name}"
            function.allow("ReadVault", ["backup:ListRecoveryPointsByBackupVault"], [vault])
            function.allow("ReadPlans", ["backup:GetBackupPlan"], [f"arn:aws:backup:{here}:backup-plan:*"])
            # None of these has a resource that a policy could name (Service Authorization Reference, "AWS Backup").
            jobs = ["backup:ListBackupJobs", "backup:ListBackupPlans", "backup:ListCopyJobs"]
            function.allow("ListJobs", jobs, ["*"])
        schedule = InvokeSchedule(
            self,
            "schedule",
            name=weekly.schedule_name,
            group=group,
            account_id=platform.account_id,
            role_name=weekly.schedule_role_name,
            policy_name="InvokeReport",
            dead_letter_queue_name=weekly.schedule_dead_letter_queue_name,
            function=function,
            description="Send the report on all backups.",
            timing=Timing(weekly.schedule_expression, weekly.schedule_time_zone, 15),
            message=report_settings.message(settings),
        )
        schedule.add(
            "measure",
            name=weekly.measure_schedule_name,
            description="Measure how old the last good backups and drills are.",
            timing=Timing(f"rate({MEASURE_HOURS} hours)", "UTC", 15),
            message=report_settings.message(settings) | {"measure": "ages"},
        )
