"""The functions that verify and restore backups, and the drills."""

from __future__ import annotations

from dataclasses import replace

from constructs import Construct

from infra.backups.fleet import Fleet
from infra.backups.notifications import Notifications
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import Group, Invoker, InvokeSchedules, Schedule, Timing
from infra.platform import Aws
from infra.school.records import Records
from infra.settings.drills import DrillPlan
from rollbook.contract import environment
from rollbook.contract.fields import to_texts


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
    """The drills: restore each table's newest backup into a scratch table, compare the two and delete the table."""

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
        [default, *others] = settings.drill_plans
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=drills.function_name,
                entry="handlers.drill.handler",
                variables=environment.Drill(
                    notifications=notifications.variables(),
                    job=replace(default.job, table_name=records.table_name),
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
        Fleet(platform, settings.backed_up_tables[1:]).grant_scratch(function, drills.scratch_suffix)
        schedules = InvokeSchedules(
            self,
            "schedule",
            group=group,
            function=function,
            invoker=Invoker(drills.schedule_role_name, "InvokeDrill", drills.schedule_dead_letter_queue_name),
        )
        description = "Restore the newest backup into a scratch table, compare it and delete the table."
        schedules.add("schedule", Schedule(default.schedule_name, description, _timing(default)))
        for plan in others:
            name = plan.job.table_name
            schedules.add(
                f"schedule-{name}",
                Schedule(
                    plan.schedule_name,
                    f"Drill the newest backup of the DynamoDB table {name}.",
                    _timing(plan),
                    {"table": to_texts(plan.job)},
                ),
            )


def _timing(plan: DrillPlan) -> Timing:
    return Timing(plan.expression, plan.time_zone, plan.window_minutes)
