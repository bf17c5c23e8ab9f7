"""The functions that verify and restore backups, and the weekly drill."""

from __future__ import annotations

from constructs import Construct

from infra.backups.notifications import Notifications
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import Group, Invoker, InvokeSchedules, Schedule, Timing
from infra.platform import Aws
from infra.school.records import Records
from rollbook.contract import environment


class Restores(Construct):
    """Two functions for operators: one verifies and compares backups, the other restores them."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        records: Records,
        notifications: Notifications,
    ) -> None:
        super().__init__(scope, id_)
        settings, store = platform.settings, notifications.store
        restores = settings.restores
        limits = Limits(
            restores.memory_mb, restores.timeout_seconds, ephemeral_storage_mb=restores.ephemeral_storage_mb
        )
        verify = Function(
            self,
            "verify",
            platform.runtime,
            FunctionSettings(
                name=restores.verify_function_name,
                entry="handlers.verify.handler",
                variables=environment.Verify(
                    s3_bucket_name=store.bucket_name, history_table_name=store.history_table_name
                ).variables(),
                limits=limits,
            ),
        )
        store.grant_read(verify)
        store.grant_proof(verify)
        records.grant_compare(verify)
        restore = Function(
            self,
            "restore",
            platform.runtime,
            FunctionSettings(
                name=restores.restore_function_name,
                entry="handlers.restore.handler",
                variables=environment.Restore(
                    restored_prefix=f"{settings.records.table_name}-{restores.restored_suffix}-",
                    s3_bucket_name=store.bucket_name,
                    history_table_name=store.history_table_name,
                    history_days=store.history_days,
                    event_bus_name=notifications.events.bus_name,
                ).variables(),
                limits=limits,
            ),
        )
        store.grant_read(restore)
        store.grant_proof(restore)
        store.grant_history(restore)
        notifications.events.grant_put(restore)
        records.grant_restore(restore)
        records.grant_copies(restore, restores.restored_suffix, keeps=True)
        # The id of the AWS managed key is not known here. The condition limits the wildcard to that key.
        restore.allow(
            "RecognizeManagedKey",
            ["kms:DescribeKey"],
            [f"arn:aws:kms:{settings.region}:{platform.account_id}:key/*"],
            {"StringEquals": {"kms:RequestAlias": "alias/aws/dynamodb"}},
        )


class Drills(Construct):
    """The weekly drill: restores the newest backup into a scratch table, compares the two and deletes the table."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        records: Records,
        notifications: Notifications,
        group: Group,
    ) -> None:
        super().__init__(scope, id_)
        settings = platform.settings
        drills = settings.drills
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=drills.function_name,
                entry="handlers.drill.handler",
                variables=environment.Drill(
                    notifications=notifications.variables(),
                    table_name=records.table_name,
                    scratch_prefix=f"{settings.records.table_name}-{drills.scratch_suffix}-",
                ).variables(),
                limits=Limits(
                    drills.memory_mb, drills.timeout_seconds, ephemeral_storage_mb=drills.ephemeral_storage_mb
                ),
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=drills.dead_letter_queue_name),
        )
        notifications.grant(function)
        notifications.store.grant_read(function)
        notifications.store.grant_proof(function)
        records.grant_copies(function, drills.scratch_suffix, keeps=False)
        schedules = InvokeSchedules(
            self,
            "schedule",
            group=group,
            function=function,
            invoker=Invoker(drills.schedule_role_name, "InvokeDrill", drills.schedule_dead_letter_queue_name),
        )
        timing = Timing(drills.schedule_expression, drills.schedule_time_zone, drills.flexible_window_minutes)
        description = "Restore the newest backup into a scratch table, compare it and delete the table."
        schedules.add("schedule", Schedule(drills.schedule_name, description, timing))
