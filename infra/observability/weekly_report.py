"""The weekly report by mail on all backups."""

from __future__ import annotations

from constructs import Construct

from infra.backups.notifications import Notifications
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import Group, Invoker, InvokeSchedules, Schedule, Timing
from infra.observability import report_settings
from infra.platform import Aws

# How often the ages of backups and drills are measured.
MEASURE_HOURS = 6


class WeeklyReport(Construct):
    """The function that creates and mails the report, and its schedules."""

    def __init__(
        self, scope: Construct, id_: str, *, platform: Aws, notifications: Notifications, group: Group
    ) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        weekly = settings.weekly_report
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=weekly.function_name,
                entry="handlers.weekly_report.handler",
                variables=report_settings.variables(settings).variables(),
                limits=Limits(weekly.memory_mb, timeout_seconds=120),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=weekly.dead_letter_queue_name),
        )
        notifications.mail.grant_send(function)
        notifications.store.grant_list(function)
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
            # These actions cannot be limited to a resource (Service Authorization Reference, "AWS Backup").
            jobs = ["backup:ListBackupJobs", "backup:ListBackupPlans", "backup:ListCopyJobs"]
            function.allow("ListJobs", jobs, ["*"])
        invoked = InvokeSchedules(
            self,
            "schedule",
            group=group,
            function=function,
            invoker=Invoker(weekly.schedule_role_name, "InvokeReport", weekly.schedule_dead_letter_queue_name),
        )
        message = report_settings.message(settings)
        weekly_timing = Timing(weekly.schedule_expression, weekly.schedule_time_zone, 15)
        invoked.add(
            "schedule", Schedule(weekly.schedule_name, "Send the report on all backups.", weekly_timing, message)
        )
        invoked.add(
            "measure",
            Schedule(
                weekly.measure_schedule_name,
                "Measure the ages of the last good backups and drills.",
                Timing(f"rate({MEASURE_HOURS} hours)", "UTC", 15),
                message | {"measure": "ages"},
            ),
        )
