"""The backup: the function that makes it, the one that finishes exports, the schedule that wakes it."""

from __future__ import annotations

from collections.abc import Sequence

from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from cdktf_cdktf_provider_aws.s3_bucket_notification import (
    S3BucketNotification,
    S3BucketNotificationLambdaFunction,
    S3BucketNotificationTopic,
)
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from cdktf_cdktf_provider_aws.sns_topic_policy import SnsTopicPolicy
from constructs import Construct

from infra.backups.notifications import Reporting
from infra.constructs.function import Function, Limits
from infra.constructs.queue import DeadLetterQueue
from infra.constructs.schedule import InvokeSchedule, Timing
from infra.observability.alerts import Alerts
from infra.platform import Aws
from infra.settings import Settings
from infra.settings.backups import TablePlan
from rollbook.contract import environment

# What S3 tells of a copy that is late, failed or no longer followed, and of a late one that arrived (S3 User Guide,
# "Receiving replication failure events with Amazon S3 Event Notifications"). The metric ReplicationLatency is published
# in the destination's Region, where an alarm of this stack cannot see it.
REPLICATION_EVENTS = [
    f"s3:Replication:Operation{event}"
    for event in ("FailedReplication", "MissedThreshold", "NotTracked", "ReplicatedAfterThreshold")
]


class Backups(Construct):
    """The backup of the records, by schedule and by `POST /backup`."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        reporting: Reporting,
        group: SchedulerScheduleGroup,
        origin: str,
    ) -> None:
        super().__init__(scope, id_)
        settings, records = reporting.settings, reporting.records
        backups = settings.backups
        plan, *fleet = settings.backed_up_tables
        self.function = Function(
            self,
            "function",
            platform=platform,
            name=backups.function_name,
            entry="handlers.backup.handler",
            environment=environment.Backup(
                **reporting.variables(),
                **{name: value for name, value in plan.message().items() if name != "table_name"},
                time_zone=settings.time_zone,
                allowed_origin=origin,
            ),
            limits=Limits(
                backups.memory_mb, backups.timeout_seconds, backups.reserved_concurrency, backups.ephemeral_storage_mb
            ),
            log_retention_days=settings.functions.log_retention_days,
            role_name=backups.role_name,
            dead_letters=DeadLetterQueue.of_function(self, "dead-letters", name=backups.dead_letter_queue_name),
        )
        records.grant_scan(self.function)
        records.grant_describe(self.function)
        _grant(self.function, reporting)
        exported = any(other.how.engine != "scan" for other in fleet)
        if backups.engine != "scan":
            records.grant_export(self.function)
        if fleet:
            self._grant_fleet(platform, settings, fleet)
        self._store = reporting.store
        self._woken: list[S3BucketNotificationLambdaFunction] = []
        self._permissions: list[LambdaPermission] = []
        if backups.engine != "scan" or exported:
            reporting.store.grant_export(self.function)
            self._finish_exports(platform, reporting)
        schedule = InvokeSchedule(
            self,
            "schedule",
            name=backups.schedule_name,
            group=group,
            account_id=platform.account_id,
            role_name=backups.schedule_role_name,
            policy_name="InvokeBackup",
            dead_letter_queue_name=backups.schedule_dead_letter_queue_name,
            function=self.function,
            description=backups.schedule_description,
            timing=Timing(
                backups.schedule_expression,
                backups.schedule_time_zone,
                backups.flexible_window_minutes,
                backups.retry_attempts,
                backups.retry_hours,
            ),
        )

        for other in fleet:
            schedule.add(
                f"schedule-{other.table_name}",
                name=other.schedule_name,
                description=f"Back up the DynamoDB table {other.table_name}.",
                timing=Timing(
                    other.expression, other.time_zone, other.window_minutes, backups.retry_attempts, backups.retry_hours
                ),
                message={"table": other.message()},
            )

    def _grant_fleet(self, platform: Aws, settings: Settings, fleet: Sequence[TablePlan]) -> None:
        """Let the function read the other tables as it reads the records."""
        tables = f"arn:aws:dynamodb:{settings.region}:{platform.account_id}:table"
        arns = [f"{tables}/{plan.table_name}" for plan in fleet]
        self.function.allow(
            "ReadFleet",
            [
                "dynamodb:DescribeContinuousBackups",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeTimeToLive",
                "dynamodb:ListTagsOfResource",
                "dynamodb:Scan",
            ],
            arns,
        )
        keys = sorted({table.kms_key_arn for table in settings.backups.tables if table.kms_key_arn})
        if keys:
            # DynamoDB decrypts in the caller's name (KMS Developer Guide, "How Amazon DynamoDB uses AWS KMS";
            # aws/aws-cdk issue 10010).
            self.function.allow(
                "UseFleetKeys",
                ["kms:Decrypt", "kms:DescribeKey"],
                keys,
                {"StringEquals": {"kms:ViaService": f"dynamodb.{settings.region}.amazonaws.com"}},
            )
        exported = [arn for arn, plan in zip(arns, fleet, strict=True) if plan.how.engine != "scan"]
        if exported:
            self.function.allow("ExportFleet", ["dynamodb:ExportTableToPointInTime"], exported)
            self.function.allow(
                "LookAtFleetExports", ["dynamodb:DescribeExport"], [f"{arn}/export/*" for arn in exported]
            )

    def _finish_exports(self, platform: Aws, reporting: Reporting) -> None:
        settings, store = reporting.settings, reporting.store
        backups = settings.backups
        finish = Function(
            self,
            "finish",
            platform=platform,
            name=backups.finish_function_name,
            entry="handlers.finish_export.handler",
            environment=environment.FinishExport(**reporting.variables()),
            limits=Limits(memory_mb=128, timeout_seconds=60),
            log_retention_days=settings.functions.log_retention_days,
            dead_letters=DeadLetterQueue.of_function(
                self, "finish-dead-letters", name=f"{backups.dead_letter_queue_name}-exports"
            ),
        )
        _grant(finish, reporting)
        self._permissions.append(
            LambdaPermission(
                self,
                "manifest-permission",
                function_name=finish.name,
                action="lambda:InvokeFunction",
                principal="s3.amazonaws.com",
                source_arn=store.bucket_arn,
                source_account=platform.account_id,
            )
        )
        self._woken.append(
            S3BucketNotificationLambdaFunction(
                lambda_function_arn=finish.arn,
                events=["s3:ObjectCreated:*"],
                # The keys of all tables; without others, only those of the records.
                filter_prefix="" if backups.tables else backups.key_prefix,
                filter_suffix="/manifest-summary.json",
            )
        )

    def notify(self, alerts: Alerts | None, topic_policy: SnsTopicPolicy) -> None:
        """Have the bucket wake the function that finishes exports, and tell a topic of its copies.

        A bucket has one notification configuration, so this is called once.

        Arguments:
            alerts: the topic; None where nothing is copied.
            topic_policy: of the topic; S3 checks it when the notification is set.
        """
        if not self._woken and not alerts:
            return
        S3BucketNotification(
            self,
            "manifests",
            bucket=self._store.bucket_id,
            lambda_function=self._woken or None,
            topic=[S3BucketNotificationTopic(topic_arn=alerts.topic_arn, events=REPLICATION_EVENTS)]
            if alerts
            else None,
            depends_on=[*self._permissions, topic_policy],
        )


def _grant(function: Function, reporting: Reporting) -> None:
    reporting.grant(function)
    reporting.store.grant_write(function)
    reporting.store.grant_read(function)
