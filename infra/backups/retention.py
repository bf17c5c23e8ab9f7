"""The function that marks backups, and the rule that invokes it when a backup is completed."""

from __future__ import annotations

from constructs import Construct

from infra.backups.notifications import Notifications
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.platform import Aws
from rollbook.contract.events import BackupCompleted
from rollbook.contract.retention import Variables, to_text


class Retention(Construct):
    """Marks the backups that the policies of their tables do not keep. It cannot delete anything."""

    def __init__(self, scope: Construct, id_: str, *, platform: Aws, notifications: Notifications) -> None:
        super().__init__(scope, id_)
        settings, store, events = platform.settings, notifications.store, notifications.events
        backups, restores = settings.backups, settings.restores
        function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=backups.retention_function_name,
                entry="handlers.retention.handler",
                variables=Variables(
                    s3_bucket_name=store.bucket_name,
                    history_table_name=store.history_table_name,
                    history_days=store.history_days,
                    time_zone=settings.time_zone,
                    retained_tables=to_text(settings.retained_tables),
                ).variables(),
                # It reads a backup as the function that verifies does.
                limits=Limits(
                    restores.memory_mb, restores.timeout_seconds, ephemeral_storage_mb=restores.ephemeral_storage_mb
                ),
            ),
            dead_letters=DeadLetterQueue.of_function(
                self, "dead-letters", name=backups.retention_dead_letter_queue_name
            ),
        )
        store.grant_read(function)
        store.grant_history(function)
        function.allow("ScanHistory", ["dynamodb:Scan"], [store.history_table_arn])
        store.grant_mark(function)
        rule = Rule(
            self,
            "rule",
            name=f"{events.bus_name}-backup-completed",
            description="Completed backups of tables with a retention",
            bus_name=events.bus_name,
            pattern={
                "source": [BackupCompleted.SOURCE],
                "detail-type": [BackupCompleted.DETAIL_TYPE],
                "detail": {"table": list(settings.retained_tables)},
            },
        )
        rule.invoke(function, undelivered_queue_name=backups.retention_undelivered_queue_name)
