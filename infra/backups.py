"""The scheduled backup: bucket, history, function and the schedule that wakes it."""

from __future__ import annotations

import json

from cdktf_cdktf_provider_aws.data_aws_caller_identity import DataAwsCallerIdentity
from cdktf_cdktf_provider_aws.dynamodb_table import DynamodbTable, DynamodbTableAttribute
from cdktf_cdktf_provider_aws.iam_role import IamRole
from cdktf_cdktf_provider_aws.iam_role_policy import IamRolePolicy
from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
)
from cdktf_cdktf_provider_aws.scheduler_schedule import SchedulerSchedule
from cdktf_cdktf_provider_aws.scheduler_schedule_group import SchedulerScheduleGroup
from constructs import Construct

from handlers import environment
from infra import settings as models
from infra.mail import Mail
from infra.platform import Aws
from infra.records import Records
from infra.settings import Settings
from infra.shapes import policy
from infra.shapes.bucket import PrivateBucket
from infra.shapes.function import Function, Limits
from infra.shapes.queue import DeadLetterQueue


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
        origin: str,
    ) -> None:
        super().__init__(scope, id_)
        backups = settings.backups
        self.bucket = PrivateBucket(self, "bucket", name=backups.bucket_name, force_destroy=settings.force_destroy)
        self.history = DynamodbTable(
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
        self.function = Function(
            self,
            "function",
            platform=platform,
            name=backups.function_name,
            entry="handlers.backups.function.handler",
            environment=environment.Backup(
                table_name=records.table_name,
                s3_bucket_name=self.bucket.name,
                sender_email=mail.sender,
                recipient_email=mail.recipient,
                history_table_name=self.history.name,
                history_days=str(backups.history_days),
                key_prefix=backups.key_prefix,
                time_zone=settings.time_zone,
                allowed_origin=origin,
            ),
            limits=Limits(
                backups.memory_mb, backups.timeout_seconds, backups.reserved_concurrency, backups.ephemeral_storage_mb
            ),
            log_retention_days=settings.functions.log_retention_days,
            role_name=backups.role_name,
            dead_letters=self._dead_letters(backups),
        )
        records.grant_scan(self.function)
        records.grant_describe(self.function)
        mail.grant_send(self.function)
        objects = f"{self.bucket.arn}/{backups.key_prefix}*"
        self.function.allow("WriteBackups", ["s3:PutObject", "s3:AbortMultipartUpload"], [objects])
        self.function.allow("ReadBackups", ["s3:GetObject"], [objects])
        self.function.allow("KeepHistory", ["dynamodb:UpdateItem"], [self.history.arn])
        self._restrict_bucket()
        self._expire(backups)
        self._schedule(backups)

    def _dead_letters(self, backups: models.Backups) -> DeadLetterQueue:
        queue = DeadLetterQueue(self, "dead-letters", name=backups.dead_letter_queue_name)
        queue.require_tls()
        return queue

    def _restrict_bucket(self) -> None:
        only_the_backup = policy.Statement(
            "OnlyTheBackupPuts",
            ["s3:PutObject"],
            [f"{self.bucket.arn}/*"],
            effect="Deny",
            principals="*",
            conditions={"ArnNotEquals": {"aws:PrincipalArn": self.function.role.arn}},
        )
        self.bucket.restrict([only_the_backup])

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
            bucket=self.bucket.bucket.id,
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
            depends_on=[self.bucket.versioning],
        )

    def _schedule(self, backups: models.Backups) -> None:
        group = SchedulerScheduleGroup(self, "schedule-group", name=backups.schedule_group)
        role = IamRole(
            self,
            "schedule-role",
            name=backups.schedule_role_name,
            assume_role_policy=policy.trust(
                "scheduler.amazonaws.com",
                {
                    "StringEquals": {
                        "aws:SourceAccount": DataAwsCallerIdentity(self, "account").account_id,
                        "aws:SourceArn": group.arn,
                    }
                },
            ),
        )
        invoke = IamRolePolicy(
            self,
            "invoke",
            name="InvokeBackup",
            role=role.id,
            policy=policy.document(
                policy.Statement("InvokeBackup", ["lambda:InvokeFunction"], [self.function.arn]),
            ),
        )
        # The queue admits the role, so that the role's own policy says one thing: invoke the function.
        dead_letters = DeadLetterQueue(self, "schedule-dead-letters", name=backups.schedule_dead_letter_queue_name)
        dead_letters.allow_role(role.arn)
        window = backups.flexible_window_minutes
        SchedulerSchedule(
            self,
            "schedule",
            name=backups.schedule_name,
            group_name=group.name,
            schedule_expression=backups.schedule_expression,
            schedule_expression_timezone=backups.schedule_time_zone,
            flexible_time_window={"mode": "FLEXIBLE", "maximum_window_in_minutes": window}
            if window
            else {"mode": "OFF"},
            target={
                "arn": self.function.arn,
                "role_arn": role.arn,
                # The scheduled time is what makes a second try the same run.
                "input": json.dumps(
                    {
                        "source": "schedule",
                        "schedule": "<aws.scheduler.schedule-arn>",
                        "scheduledTime": "<aws.scheduler.scheduled-time>",
                        "executionId": "<aws.scheduler.execution-id>",
                        "attempt": "<aws.scheduler.attempt-number>",
                    }
                ),
                "retry_policy": {
                    "maximum_retry_attempts": backups.retry_attempts,
                    "maximum_event_age_in_seconds": round(backups.retry_hours * 3600),
                },
                "dead_letter_config": {"arn": dead_letters.arn},
            },
            depends_on=[invoke],
        )
