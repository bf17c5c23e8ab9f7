"""The backup function, the function that completes exports, and a schedule for each table."""

from __future__ import annotations

from dataclasses import replace

from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from cdktf_cdktf_provider_aws.s3_bucket_notification import (
    S3BucketNotification,
    S3BucketNotificationLambdaFunction,
    S3BucketNotificationTopic,
)
from constructs import Construct

from infra.backups.fleet import Fleet
from infra.backups.notifications import Notifications
from infra.constructs.function import Function, FunctionSettings, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.rule import Rule
from infra.constructs.schedule import Group, Invoker, InvokeSchedules, Schedule, Timing
from infra.observability.alerts import Alerts
from infra.platform import Aws
from infra.school.records import Records
from infra.settings.backups import TablePlan
from rollbook.contract import environment
from rollbook.contract.events import BackupContinues
from rollbook.contract.fields import to_texts

# A failed export is noticed within 15 minutes: this interval, a late event and a retry.
_WATCH_MINUTES = 5
# S3's events for a copy that is late, has failed, is no longer tracked, or has arrived late (S3 User Guide, "Receiving
# replication failure events").
REPLICATION_EVENTS = [
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationReplicatedAfterThreshold",
]


class Backups(Construct):
    """The scheduled backups of all tables. `POST /backup` backs up the records, too.

    `complete` writes the bucket's notifications.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        records: Records,
        notifications: Notifications,
        group: Group,
        origin: str,
    ) -> None:
        super().__init__(scope, id_)
        settings, self._store = platform.settings, notifications.store
        backups = settings.backups
        self._plans = settings.backed_up_tables
        # A request without a table, such as a request of the API, is for the records.
        [default, *others] = self._plans
        self.function = Function(
            self,
            "function",
            platform.runtime,
            FunctionSettings(
                name=backups.function_name,
                entry="handlers.backup.handler",
                variables=environment.Backup(
                    notifications=notifications.variables(),
                    job=replace(default.job, table_name=records.table_name),
                    time_zone=settings.time_zone,
                    allowed_origin=origin,
                ).variables(),
                limits=Limits(
                    backups.memory_mb,
                    backups.timeout_seconds,
                    backups.reserved_concurrency,
                    backups.ephemeral_storage_mb,
                ),
                role_name=backups.role_name,
            ),
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=backups.dead_letter_queue_name),
        )
        records.grant_backup(self.function, exports=default.options.engine != "scan")
        Fleet(platform, others).grant_backup(self.function)
        _grant(self.function, notifications)
        if any(plan.options.engine != "export" for plan in self._plans):
            self._continue_scans(notifications.events.bus_name, backups.continue_undelivered_queue_name)
        self._invoked: list[S3BucketNotificationLambdaFunction] = []
        self._permissions: list[LambdaPermission] = []
        self._publishes_copy_failures = False
        if any(plan.options.engine != "scan" for plan in self._plans):
            self._store.grant_export(self.function)
            self._finish_exports(platform, records, notifications)
        schedules = InvokeSchedules(
            self,
            "schedule",
            group=group,
            function=self.function,
            invoker=Invoker(backups.schedule_role_name, "InvokeBackup", backups.schedule_dead_letter_queue_name),
        )
        for plan in self._plans:
            is_default = plan is default
            schedules.add(
                "schedule" if is_default else f"schedule-{plan.table_name}",
                Schedule(
                    plan.schedule_name,
                    backups.schedule_description if is_default else f"Back up the DynamoDB table {plan.table_name}.",
                    _timing(plan, backups.retry_attempts, backups.retry_hours),
                    # The default job is in the function's variables.
                    None if is_default else {"table": to_texts(plan.job)},
                ),
            )

    def publish_copy_failures(self, alerts: Alerts) -> None:
        """Publish late and failed copies of the backups to the alert topic."""
        alerts.allow_bucket(self._store.bucket_arn)
        self._publishes_copy_failures = True

    def complete(self, alerts: Alerts) -> None:
        """Write the bucket's notifications. A bucket has only one configuration for them.

        Arguments:
            alerts: already completed, because S3 checks the topic's policy when it accepts the configuration.
        """
        if not self._invoked and not self._publishes_copy_failures:
            return
        S3BucketNotification(
            self,
            "manifests",
            bucket=self._store.bucket_id,
            lambda_function=self._invoked or None,
            topic=[S3BucketNotificationTopic(topic_arn=alerts.topic_arn, events=REPLICATION_EVENTS)]
            if self._publishes_copy_failures
            else None,
            depends_on=[*self._permissions, alerts.policy],
        )

    def _continue_scans(self, bus_name: str, undelivered_queue_name: str) -> None:
        """Invoke the function again when a table does not fit into one invocation (decision 0023)."""
        Rule(
            self,
            "continue",
            name=f"{bus_name}-backup-continues",
            description="Backups that continue in another invocation",
            bus_name=bus_name,
            pattern={"source": [BackupContinues.SOURCE], "detail-type": [BackupContinues.DETAIL_TYPE]},
        ).invoke(self.function, undelivered_queue_name=undelivered_queue_name)

    def _finish_exports(self, platform: Aws, records: Records, notifications: Notifications) -> None:
        backups = platform.settings.backups
        finish = Function(
            self,
            "finish",
            platform.runtime,
            FunctionSettings(
                name=backups.finish_function_name,
                entry="handlers.finish_export.handler",
                variables=environment.FinishExport(
                    notifications=notifications.variables(),
                    table_name=records.table_name,
                    export_limit_hours=backups.export_limit_hours,
                ).variables(),
                limits=Limits(memory_mb=128, timeout_seconds=60),
            ),
            dead_letters=DeadLetterQueue.of_function(
                self, "finish-dead-letters", name=f"{backups.dead_letter_queue_name}-exports"
            ),
        )
        _grant(finish, notifications)
        # DynamoDB publishes no event when an export ends (EventBridge Events Reference, "Amazon DynamoDB events"), and
        # a failed export writes no manifest, so the function looks at the exports in progress.
        [default, *others] = self._plans
        if default.options.engine != "scan":
            records.grant_look_at_exports(finish)
        Fleet(platform, others).grant_look_at_exports(finish)
        Rule(
            self,
            "exports",
            name=f"{backups.finish_function_name}-watch"[:64],
            description="Look at the exports in progress.",
            schedule=f"rate({_WATCH_MINUTES} minutes)",
        ).invoke(finish, undelivered_queue_name=f"{backups.dead_letter_queue_name}-watch")
        self._permissions.append(
            LambdaPermission(
                self,
                "manifest-permission",
                function_name=finish.name,
                action="lambda:InvokeFunction",
                principal="s3.amazonaws.com",
                source_arn=self._store.bucket_arn,
                source_account=platform.account_id,
            )
        )
        prefixes = [plan.key_prefix for plan in self._plans]
        self._invoked.append(
            S3BucketNotificationLambdaFunction(
                lambda_function_arn=finish.arn,
                events=["s3:ObjectCreated:*"],
                # A filter has one prefix: that of the only table, or an empty one for several tables.
                filter_prefix=prefixes[0] if len(prefixes) == 1 else "",
                filter_suffix="/manifest-summary.json",
            )
        )


def _timing(plan: TablePlan, attempts: int, hours: float) -> Timing:
    return Timing(plan.expression, plan.time_zone, plan.window_minutes, attempts, hours)


def _grant(function: Function, notifications: Notifications) -> None:
    notifications.grant(function)
    notifications.store.grant_write(function)
    notifications.store.grant_read(function)
