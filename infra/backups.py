"""The backup: its store, the function that makes it, the schedule that wakes the function."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.dynamodb_table import DynamodbTable, DynamodbTableAttribute
from cdktf_cdktf_provider_aws.lambda_permission import LambdaPermission
from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
)
from cdktf_cdktf_provider_aws.s3_bucket_notification import (
    S3BucketNotification,
    S3BucketNotificationLambdaFunction,
)
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from handlers import environment
from infra import settings as models
from infra.events import Events
from infra.mail import Mail
from infra.platform import Aws
from infra.records import Records
from infra.settings import Settings
from infra.shapes import policy
from infra.shapes.bucket import PrivateBucket
from infra.shapes.function import Function, Limits
from infra.shapes.queue import DeadLetterQueue
from infra.shapes.schedule import InvokeSchedule, Timing


class BackupStore(Construct):
    """Where backups are kept and remembered: the bucket and the table of executions."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_)
        backups = settings.backups
        self._bucket = PrivateBucket(self, "bucket", name=backups.bucket_name, force_destroy=settings.force_destroy)
        self._history = DynamodbTable(
            self,
            "history",
            name=backups.history_table_name,
            billing_mode="PAY_PER_REQUEST",
            hash_key="id",
            attribute=[DynamodbTableAttribute(name="id", type="S")],
            ttl={"attribute_name": "expiresAt", "enabled": True},
            point_in_time_recovery={"enabled": True},
            server_side_encryption={"enabled": True},
            deletion_protection_enabled=settings.records.deletion_protection,
        )
        self._objects = f"{self._bucket.arn}/{backups.key_prefix}*"
        self._writers: list[str] = []
        self.bucket_name = self._bucket.name
        self.bucket_arn = self._bucket.arn
        self.bucket_id = self._bucket.bucket.id
        self.history_table_name = self._history.name
        self._expire(backups)

    def grant_write(self, function: Function) -> None:
        """Let a function write backups; `restrict` keeps everybody else from it."""
        function.allow("WriteBackups", ["s3:PutObject", "s3:AbortMultipartUpload"], [self._objects])
        self._writers.append(function.role.arn)

    def grant_read(self, function: Function) -> None:
        """Let a function read backups, and see which there are: without that S3 says Forbidden of a missing one."""
        function.allow("ReadBackups", ["s3:GetObject"], [self._objects])
        function.allow("ListBackups", ["s3:ListBucket"], [self._bucket.arn])

    def grant_history(self, function: Function) -> None:
        """Let a function keep the history."""
        function.allow("KeepHistory", ["dynamodb:GetItem", "dynamodb:UpdateItem"], [self._history.arn])

    def restrict(self) -> None:
        """Refuse writes by anybody who was not granted them, administrators too."""
        only_the_backup = policy.Statement(
            "OnlyTheBackupPuts",
            ["s3:PutObject"],
            [f"{self._bucket.arn}/*"],
            effect="Deny",
            principals="*",
            conditions={"ArnNotEquals": {"aws:PrincipalArn": self._writers}},
        )
        self._bucket.restrict([only_the_backup])

    def _expire(self, backups: models.Backups) -> None:
        transitions = [
            S3BucketLifecycleConfigurationRuleTransition(days=days, storage_class=storage_class)
            for storage_class, days in (
                ("STANDARD_IA", backups.infrequent_access_after_days),
                ("GLACIER", backups.glacier_after_days),
            )
            if days is not None
        ]
        S3BucketLifecycleConfiguration(
            self,
            "lifecycle",
            bucket=self._bucket.bucket.id,
            rule=[
                S3BucketLifecycleConfigurationRule(
                    id="backups",
                    status="Enabled",
                    filter=[S3BucketLifecycleConfigurationRuleFilter(prefix=backups.key_prefix)],
                    transition=transitions,
                    expiration=[S3BucketLifecycleConfigurationRuleExpiration(days=backups.expire_after_days)],
                    noncurrent_version_expiration=[
                        S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration(
                            noncurrent_days=backups.noncurrent_expire_days
                        )
                    ],
                    # A part of an upload that died costs as much as an object, and nobody sees it.
                    abort_incomplete_multipart_upload=[
                        S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload(days_after_initiation=1)
                    ],
                )
            ],
            depends_on=[self._bucket.versioning],
        )


class Backups(Construct):
    """The backup of the records, by schedule and by `POST /backup`."""

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        platform: Aws,
        settings: Settings,
        records: Records,
        mail: Mail,
        events: Events,
        store: BackupStore,
        group: SchedulerScheduleGroup,
        origin: str,
    ) -> None:
        super().__init__(scope, id_)
        backups = settings.backups
        self.function = Function(
            self,
            "function",
            platform=platform,
            name=backups.function_name,
            entry="handlers.backups.functions.backup.handler",
            environment=environment.Backup(
                table_name=records.table_name,
                s3_bucket_name=store.bucket_name,
                sender_email=mail.sender,
                recipient_email=mail.recipient,
                history_table_name=store.history_table_name,
                history_days=str(backups.history_days),
                event_bus_name=events.bus_name,
                key_prefix=backups.key_prefix,
                time_zone=settings.time_zone,
                allowed_origin=origin,
                engine=backups.engine,
                format=backups.format,
                compression=backups.compression,
                export_type=backups.export_type,
                segments=str(backups.segments),
                read_units_per_second=f"{backups.read_units_per_second:g}" if backups.read_units_per_second else "",
            ),
            limits=Limits(
                backups.memory_mb, backups.timeout_seconds, backups.reserved_concurrency, backups.ephemeral_storage_mb
            ),
            log_retention_days=settings.functions.log_retention_days,
            role_name=backups.role_name,
            dead_letters=_dead_letters(self, "dead-letters", backups.dead_letter_queue_name),
        )
        records.grant_scan(self.function)
        records.grant_describe(self.function)
        self._grant_report(self.function, mail, events, store)
        if backups.engine != "scan":
            records.grant_export(self.function)
            self._finish_exports(platform, settings, records, mail, events, store)
        InvokeSchedule(
            self,
            "schedule",
            name=backups.schedule_name,
            group=group,
            account_id=platform.account_id,
            role_name=backups.schedule_role_name,
            policy_name="InvokeBackup",
            dead_letter_queue_name=backups.schedule_dead_letter_queue_name,
            function=self.function,
            timing=Timing(
                backups.schedule_expression,
                backups.schedule_time_zone,
                backups.flexible_window_minutes,
                backups.retry_attempts,
                backups.retry_hours,
            ),
        )

    def _grant_report(self, function: Function, mail: Mail, events: Events, store: BackupStore) -> None:
        mail.grant_send(function)
        events.grant_put(function)
        store.grant_write(function)
        store.grant_read(function)
        store.grant_history(function)

    def _finish_exports(
        self,
        platform: Aws,
        settings: Settings,
        records: Records,
        mail: Mail,
        events: Events,
        store: BackupStore,
    ) -> None:
        backups = settings.backups
        finish = Function(
            self,
            "finish",
            platform=platform,
            name=backups.finish_function_name,
            entry="handlers.backups.functions.finish.handler",
            environment=environment.FinishExport(
                table_name=records.table_name,
                s3_bucket_name=store.bucket_name,
                sender_email=mail.sender,
                recipient_email=mail.recipient,
                history_table_name=store.history_table_name,
                history_days=str(backups.history_days),
                event_bus_name=events.bus_name,
            ),
            limits=Limits(memory_mb=128, timeout_seconds=60),
            log_retention_days=settings.functions.log_retention_days,
            dead_letters=_dead_letters(self, "finish-dead-letters", f"{backups.dead_letter_queue_name}-exports"),
        )
        self._grant_report(finish, mail, events, store)
        permission = LambdaPermission(
            self,
            "manifest-permission",
            function_name=finish.name,
            action="lambda:InvokeFunction",
            principal="s3.amazonaws.com",
            source_arn=store.bucket_arn,
            source_account=platform.account_id,
        )
        S3BucketNotification(
            self,
            "manifests",
            bucket=store.bucket_id,
            lambda_function=[
                S3BucketNotificationLambdaFunction(
                    lambda_function_arn=finish.arn,
                    events=["s3:ObjectCreated:*"],
                    filter_prefix=backups.key_prefix,
                    filter_suffix="/manifest-summary.json",
                )
            ],
            depends_on=[permission],
        )


def _dead_letters(scope: Construct, id_: str, name: str) -> DeadLetterQueue:
    queue = DeadLetterQueue(scope, id_, name=name)
    queue.require_tls()
    return queue
