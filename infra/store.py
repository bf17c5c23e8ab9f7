"""Where backups are kept and remembered: the bucket and the table of executions."""

from __future__ import annotations

from cdktf_cdktf_provider_aws.dynamodb_table import DynamodbTable, DynamodbTableAttribute
from cdktf_cdktf_provider_aws.s3_bucket_lifecycle_configuration import (
    S3BucketLifecycleConfiguration,
    S3BucketLifecycleConfigurationRule,
    S3BucketLifecycleConfigurationRuleAbortIncompleteMultipartUpload,
    S3BucketLifecycleConfigurationRuleExpiration,
    S3BucketLifecycleConfigurationRuleFilter,
    S3BucketLifecycleConfigurationRuleNoncurrentVersionExpiration,
    S3BucketLifecycleConfigurationRuleTransition,
)
from constructs import Construct

from infra import settings as models
from infra.settings import Settings
from infra.shapes import policy
from infra.shapes.bucket import PrivateBucket
from infra.shapes.function import Function


class BackupStore(Construct):
    """The bucket, which only who was granted it can write, and the table."""

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
        self._readers: list[str] = []
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
        self._readers.append(function.role.arn)

    def grant_list(self, function: Function) -> None:
        """Let a function see which backups there are, and read the whole history."""
        function.allow("ListBackups", ["s3:ListBucket"], [self._bucket.arn])
        function.allow("ScanHistory", ["dynamodb:Scan"], [self._history.arn])

    @property
    def role_arns(self) -> list[str]:
        """Return the roles that were granted to read or write backups."""
        return sorted({*self._writers, *self._readers})

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
