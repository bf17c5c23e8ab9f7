"""The way back: functions that verify, restore and, every week, drill."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from infra.backups.notifications import Reporting
from infra.constructs.function import Function, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import InvokeSchedule, Timing
from infra.platform import Aws
from rollbook.contract import environment


class Restores(Construct):
    """Two functions that somebody invokes: one verifies and compares backups, one restores them."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        reporting: Reporting,
    ) -> None:
        super().__init__(scope, id_)
        settings, records, store = reporting.settings, reporting.records, reporting.store
        restores = settings.restores
        limits = Limits(
            restores.memory_mb, restores.timeout_seconds, ephemeral_storage_mb=restores.ephemeral_storage_mb
        )
        verify = Function(
            self,
            "verify",
            platform=platform,
            name=restores.verify_function_name,
            entry="handlers.verify.handler",
            environment=environment.Verify(s3_bucket_name=store.bucket_name),
            limits=limits,
            log_retention_days=settings.functions.log_retention_days,
        )
        store.grant_read(verify)
        records.grant_compare(verify)
        restore = Function(
            self,
            "restore",
            platform=platform,
            name=restores.restore_function_name,
            entry="handlers.restore.handler",
            environment=environment.Restore(
                restored_prefix=f"{settings.records.table_name}-{restores.restored_suffix}-",
                s3_bucket_name=store.bucket_name,
                history_table_name=store.history_table_name,
                history_days=str(settings.backups.history_days),
                event_bus_name=reporting.events.bus_name,
            ),
            limits=limits,
            log_retention_days=settings.functions.log_retention_days,
        )
        store.grant_read(restore)
        store.grant_history(restore)
        reporting.events.grant_put(restore)
        records.grant_restore(restore)
        records.grant_copies(restore, restores.restored_suffix, keeps=True)


class Drills(Construct):
    """The weekly drill: the newest backup restored into a scratch table, compared, thrown away."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        reporting: Reporting,
        group: SchedulerScheduleGroup,
    ) -> None:
        super().__init__(scope, id_)
        settings = reporting.settings
        drills = settings.drills
        function = Function(
            self,
            "function",
            platform=platform,
            name=drills.function_name,
            entry="handlers.drill.handler",
            environment=environment.Drill(
                **reporting.variables(),
                scratch_prefix=f"{settings.records.table_name}-{drills.scratch_suffix}-",
            ),
            limits=Limits(drills.memory_mb, drills.timeout_seconds, ephemeral_storage_mb=drills.ephemeral_storage_mb),
            log_retention_days=settings.functions.log_retention_days,
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=drills.dead_letter_queue_name),
        )
        reporting.grant(function)
        reporting.store.grant_read(function)
        reporting.records.grant_copies(function, drills.scratch_suffix, keeps=False)
        InvokeSchedule(
            self,
            "schedule",
            name=drills.schedule_name,
            group=group,
            account_id=platform.account_id,
            role_name=drills.schedule_role_name,
            policy_name="InvokeDrill",
            dead_letter_queue_name=drills.schedule_dead_letter_queue_name,
            function=function,
            description="Restore the newest backup into a scratch table, compare it and delete the table.",
            timing=Timing(drills.schedule_expression, drills.schedule_time_zone, drills.flexible_window_minutes),
        )
